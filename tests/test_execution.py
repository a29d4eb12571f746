"""How requests are carried out through `portal up`: retries, time limits, who sorts questions."""

import json
from typing import Any

from tests.conftest import StartFake, StartPortal
from tests.harness import Fake, PortalProcess, free_port

ASK = [{"role": "user", "content": "What should I see in Lisbon in two days?"}]
ONE = {"one": {"model": "qwen2.5:7b"}}


def chat(portal: PortalProcess, model: str, **fields: Any) -> Any:
    body = {"model": model, "messages": ASK, **fields}
    return portal.client.post("/v1/chat/completions", json=body)


def test_a_model_that_sends_no_token_in_time_is_exchanged_for_the_next(
    start_portal: StartPortal, ollama: Fake, openai_server: Fake
) -> None:
    ollama.script(path="/api/chat", hang=True)
    portal = start_portal(
        routing={"first_token_seconds": 0.3},
        backends=[ollama.backend("ollama"), openai_server.backend("vllm")],
        workspaces={
            "mine": {"model": "ollama/qwen2.5:7b", "fallback": ["vllm/Qwen/Qwen2.5-7B-Instruct"]}
        },
    )
    answer = chat(portal, "mine")
    assert answer.status_code == 200
    assert answer.headers["x-portal-route"].startswith("mine;vllm;")
    assert answer.headers["x-portal-route"].endswith("fallback after 1 failed")


def test_a_backend_that_refuses_connections_is_passed_over_and_told_where_it_was_named(
    start_portal: StartPortal, ollama: Fake
) -> None:
    gone = {"name": "gone", "kind": "openai", "url": f"http://127.0.0.1:{free_port()}"}
    portal = start_portal(
        breaker={"failures": 100},
        backends=[gone, ollama.backend("ollama")],
        workspaces={"mine": {"model": "gone/any", "fallback": ["ollama/qwen2.5:7b"]}},
    )
    answer = chat(portal, "mine")
    assert answer.headers["x-portal-route"] == "mine;ollama;qwen2.5:7b;fallback after 1 failed"
    refused = chat(portal, "gone/any")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "backend_unreachable")


def test_an_answer_of_nothing_but_thoughts_is_an_error_in_a_turn(
    start_portal: StartPortal, ollama: Fake
) -> None:
    ollama.script(path="/api/chat", reasoning=["hm", "hm"], tokens=[])
    portal = start_portal(backends=[ollama.backend("ollama")], workspaces=ONE)
    answer = portal.client.post("/portal/turns", json={"messages": ASK, "workspace": "one"})
    events = [
        json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")
    ]
    assert events[-1]["event"] == "error"
    assert "gave no answer" in events[-1]["message"]


def test_an_answer_whose_limit_went_into_thoughts_ends_with_length_and_no_error(
    start_portal: StartPortal, ollama: Fake
) -> None:
    ollama.script(path="/api/chat", reasoning=["hm", "hm"], tokens=[], finish="length")
    portal = start_portal(backends=[ollama.backend("ollama")], workspaces=ONE)
    choice = chat(portal, "one").json()["choices"][0]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["reasoning_content"] == "hmhm"


def test_a_small_model_sorts_the_question_where_one_is_set(
    start_portal: StartPortal, ollama: Fake, start_fake: StartFake
) -> None:
    judge = start_fake("ollama", "--models", '["tiny:0.5b"]')
    verdict = {"category": "math", "complexity": "expert", "needs": ["reasoning"]}
    judge.script(path="/api/chat", text=json.dumps(verdict))
    portal = start_portal(
        routing={"classifier_model": "judge/tiny:0.5b"},
        backends=[ollama.backend("ollama"), judge.backend("judge")],
    )
    found = portal.client.post("/portal/route", json={"messages": ASK}).json()["classification"]
    assert (found["category"], found["complexity"], found["by"]) == ("math", "expert", "model")
    asked = judge.requests("/api/chat")[0].json
    assert asked["format"]["type"] == "object"
    assert ASK[0]["content"] in json.dumps(asked["messages"])


def test_a_classifying_model_that_is_slow_or_talks_nonsense_leaves_it_to_the_rules(
    start_portal: StartPortal, ollama: Fake, start_fake: StartFake
) -> None:
    judge = start_fake("ollama", "--models", '["tiny:0.5b"]')
    portal = start_portal(
        routing={"classifier_model": "judge/tiny:0.5b", "classifier_seconds": 0.2},
        breaker={"failures": 100},
        backends=[ollama.backend("ollama"), judge.backend("judge")],
    )
    for script in ({"hang": True}, {"text": "I think it is maths"}, {"status": 500, "body": "no"}):
        judge.script(path="/api/chat", **script)
        found = portal.client.post("/portal/route", json={"messages": ASK}).json()
        assert found["classification"]["by"] == "rules"
    assert len(judge.requests("/api/chat")) == 3
