"""Workspaces through `portal up`: the best live model answers, and failures fail softly."""

import json
from typing import Any

import pytest

from tests.conftest import StartFake, StartPortal
from tests.harness import Fake, PortalProcess

ASK = [{"role": "user", "content": "hi"}]
MODEL = "Qwen/Qwen2.5-7B-Instruct"
OLLAMA_FIRST = {
    "auto": {
        "model": "ollama/deepseek-r1:8b",
        "fallback": ["ollama/qwen2.5:7b", "ollama/llava:7b"],
    }
}


def turn(portal: PortalProcess, **fields: Any) -> list[dict[str, Any]]:
    """Run one turn and return its events."""
    answer = portal.client.post("/portal/turns", json={"messages": ASK, **fields})
    assert answer.status_code == 200, answer.text
    data = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    assert data.pop() == "[DONE]"
    return [json.loads(event) for event in data]


def test_auto_chooses_for_each_question_and_says_why(
    start_portal: StartPortal, ollama: Fake, openai_server: Fake
) -> None:
    portal = start_portal(
        routing={"strategy": "quality"},
        backends=[openai_server.backend("vllm"), ollama.backend("ollama")],
    )
    question = [{"role": "user", "content": "Prove that there are infinitely many primes."}]
    answer = portal.client.post(
        "/v1/chat/completions", json={"model": "auto", "messages": question}
    )
    workspace, backend, model, reason = answer.headers["x-portal-route"].split(";")
    assert (workspace, backend, model) == ("auto", "ollama", "deepseek-r1:8b")
    assert "math" in reason
    assert answer.json()["model"] == "auto"
    assert ollama.requests("/api/chat")[0].json["model"] == "deepseek-r1:8b"
    assert openai_server.requests("/v1/chat/completions") == []


def test_a_turn_tells_its_route_text_usage_and_end(start_portal: StartPortal, ollama: Fake) -> None:
    ollama.script(reasoning=["hm"], text="Hello there")
    portal = start_portal(backends=[ollama.backend("ollama")], workspaces=OLLAMA_FIRST)
    assert turn(portal) == [
        {"event": "notice", "code": "route", "text": "auto;ollama;deepseek-r1:8b;configured"},
        {"event": "reasoning", "text": "hm"},
        {"event": "text", "text": "Hello"},
        {"event": "text", "text": " there"},
        {"event": "usage", "input_tokens": 11, "output_tokens": 3, "estimated": False},
        {"event": "finish", "reason": "stop", "backend": "ollama", "model": "deepseek-r1:8b"},
    ]


def test_the_history_reaches_the_model_in_order(start_portal: StartPortal, ollama: Fake) -> None:
    portal = start_portal(backends=[ollama.backend("ollama")])
    history = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": "Hello Ada."},
        {"role": "user", "content": "My name?"},
    ]
    turn(portal, messages=history)
    assert ollama.requests("/api/chat")[0].json["messages"] == history


def test_a_workspaces_settings_reach_the_model(start_portal: StartPortal, ollama: Fake) -> None:
    workspace = {
        "model": "qwen2.5:7b",
        "system": "Speak like a pirate.",
        "temperature": 0.2,
        "max_tokens": 9,
    }
    portal = start_portal(backends=[ollama.backend("ollama")], workspaces={"pirate": workspace})
    turn(portal, workspace="pirate", sampling={"max_tokens": 5})
    sent = ollama.requests("/api/chat")[0].json
    assert sent["model"] == "qwen2.5:7b"
    assert sent["messages"][0] == {"role": "system", "content": "Speak like a pirate."}
    window = sent["options"].pop("num_ctx")
    assert sent["options"] == {"temperature": 0.2, "num_predict": 5}
    assert window in (4096, 8192, 16384, 32768)


def test_a_failure_before_the_first_token_falls_back_to_the_next_model(
    start_portal: StartPortal, ollama: Fake, openai_server: Fake
) -> None:
    ollama.script(status=500, body={"error": "out of memory"})
    portal = start_portal(
        backends=[ollama.backend("ollama"), openai_server.backend("vllm")],
        workspaces=OLLAMA_FIRST,
    )
    answer = portal.client.post("/v1/chat/completions", json={"model": "auto", "messages": ASK})
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "Echo: hi"
    assert answer.headers["x-portal-route"] == f"auto;vllm;{MODEL};fallback after 3 failed"
    notices = [event for event in turn(portal) if event["event"] == "notice"]
    assert [notice["code"] for notice in notices] == ["route", *["fallback"] * 3]
    assert "out of memory" in notices[1]["text"]


def test_an_empty_answer_counts_as_a_failure(
    start_portal: StartPortal, ollama: Fake, openai_server: Fake
) -> None:
    ollama.script(tokens=[])
    portal = start_portal(backends=[ollama.backend("ollama"), openai_server.backend("vllm")])
    events = turn(portal)
    assert events[-1]["backend"] == "vllm"


@pytest.mark.parametrize(
    ("script", "limit", "reason"),
    [
        ({"tokens": [], "finish": "length"}, 50, "length"),
        ({"tokens": []}, 1, "stop"),
        ({"tokens": [], "finish": "content_filter"}, 50, "content_filter"),
    ],
)
def test_an_answer_that_has_a_reason_to_be_empty_is_no_failure(
    start_portal: StartPortal,
    openai_server: Fake,
    script: dict[str, Any],
    limit: int,
    reason: str,
) -> None:
    openai_server.script(**script)
    portal = start_portal(backends=[openai_server.backend("vllm")])
    body = {"model": "auto", "messages": ASK, "max_tokens": limit}
    choice = portal.client.post("/v1/chat/completions", json=body).json()["choices"][0]
    assert choice["finish_reason"] == reason


def test_a_backend_that_refuses_portals_key_does_not_end_the_turn(
    start_portal: StartPortal, ollama: Fake, openai_server: Fake
) -> None:
    secret = "sk-of-the-backend-itself"
    ollama.script(status=401, body={"error": f"Incorrect API key provided: {secret}"})
    portal = start_portal(
        backends=[ollama.backend("ollama", api_key=secret), openai_server.backend("vllm")]
    )
    assert turn(portal)[-1]["backend"] == "vllm"
    raw = {"model": "ollama/qwen2.5:7b", "messages": ASK}
    refused = portal.client.post("/v1/chat/completions", json=raw)
    assert refused.status_code == 502
    assert "Incorrect API key" in refused.text
    assert secret not in refused.text
    assert secret not in portal.logs()


def test_a_workspace_whose_model_is_not_there_uses_its_fallback(
    start_portal: StartPortal, ollama: Fake
) -> None:
    workspace = {"model": "not-pulled-yet", "fallback": ["qwen2.5:7b"]}
    portal = start_portal(backends=[ollama.backend("ollama")], workspaces={"mine": workspace})
    assert turn(portal, workspace="mine")[-1]["model"] == "qwen2.5:7b"


def test_turns_reuse_their_connections(start_portal: StartPortal, ollama: Fake) -> None:
    portal = start_portal(server={"discover_seconds": 3600}, backends=[ollama.backend("ollama")])
    for _ in range(8):
        turn(portal)
    # What the discovery opened is used again, beside a look at what is loaded now.
    before = {each.connection for each in ollama.requests() if each.path != "/api/chat"}
    assert {each.connection for each in ollama.requests("/api/chat")} <= before


def test_a_demanded_tool_call_is_said_to_be_dropped_by_ollama(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(backends=[ollama.backend("ollama")])
    tools = [{"type": "function", "function": {"name": name}} for name in ("one", "two")]
    named = {"type": "function", "function": {"name": "two"}}
    body = {"messages": ASK, "tools": tools, "tool_choice": named, "parallel_tool_calls": False}
    for model in ("auto", "ollama/qwen2.5:7b"):
        answer = portal.client.post("/v1/chat/completions", json={"model": model, **body})
        assert answer.headers["x-portal-dropped"] == "tool_choice, parallel_tool_calls"
    for record in ollama.requests("/api/chat"):
        assert [tool["function"]["name"] for tool in record.json["tools"]] == ["two"]


def test_a_turn_that_breaks_during_heartbeats_ends_with_an_event_of_its_own_kind(
    start_portal: StartPortal, ollama: Fake
) -> None:
    ollama.script(hang=True)
    portal = start_portal(
        server={"heartbeat_seconds": 0.05},
        backends=[ollama.backend("ollama", first_byte_seconds=0.3)],
        workspaces={"one": {"model": "qwen2.5:7b"}},
    )
    body = {"messages": ASK, "workspace": "ollama/qwen2.5:7b"}
    answer = portal.client.post("/portal/turns", json=body)
    last = json.loads(answer.text.rstrip().rpartition("data: ")[2])
    assert (last["event"], last["code"]) == ("error", "backend_timeout")


def test_a_refusal_of_the_request_itself_is_not_tried_elsewhere(
    start_portal: StartPortal, ollama: Fake, openai_server: Fake
) -> None:
    ollama.script(status=400, body={"error": "bad image"})
    portal = start_portal(
        backends=[ollama.backend("ollama"), openai_server.backend("vllm")],
        workspaces=OLLAMA_FIRST,
    )
    answer = portal.client.post("/v1/chat/completions", json={"model": "auto", "messages": ASK})
    assert answer.status_code == 400
    assert "bad image" in answer.json()["error"]["message"]
    assert openai_server.requests("/v1/chat/completions") == []


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/portal/turns"])
def test_a_failure_after_the_first_token_is_told_and_never_restarted(
    start_portal: StartPortal, ollama: Fake, openai_server: Fake, path: str
) -> None:
    ollama.script(tokens=["one", " two"], cut_after=1)
    portal = start_portal(
        backends=[ollama.backend("ollama"), openai_server.backend("vllm")],
        workspaces=OLLAMA_FIRST,
    )
    body: dict[str, Any] = {"messages": ASK, "workspace": "auto"}
    if path.startswith("/v1"):
        body = {"messages": ASK, "model": "auto", "stream": True}
    answer = portal.client.post(path, json=body)
    assert answer.status_code == 200
    assert "one" in answer.text
    assert "backend_broken" in answer.text
    assert openai_server.requests("/v1/chat/completions") == []


def test_a_broken_whole_answer_is_an_error_not_half_an_answer(
    start_portal: StartPortal, ollama: Fake
) -> None:
    ollama.script(tokens=["one", " two"], cut_after=1)
    portal = start_portal(backends=[ollama.backend("ollama")])
    answer = portal.client.post("/v1/chat/completions", json={"model": "auto", "messages": ASK})
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "backend_broken")


def test_a_dead_backend_hurts_nobody(
    start_portal: StartPortal, start_fake: StartFake, openai_server: Fake
) -> None:
    dead = start_fake("ollama")
    dead.kill()
    portal = start_portal(backends=[dead.backend("ollama"), openai_server.backend("vllm")])
    assert turn(portal)[-1]["backend"] == "vllm"
    health = portal.client.get("/health").json()
    assert health["status"] == "degraded"
    assert health["ready"] is True
    assert any("ollama" in problem for problem in health["problems"])


def test_without_any_backend_the_refusal_says_what_to_do(start_portal: StartPortal) -> None:
    portal = start_portal()
    answer = portal.client.post("/v1/chat/completions", json={"model": "auto", "messages": ASK})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_backend")
    assert "Ollama" in answer.json()["error"]["message"]
    assert portal.client.get("/health").json()["status"] == "degraded"
    assert portal.client.get("/health/ready").status_code == 200


def test_a_backend_started_after_portal_is_found(
    start_portal: StartPortal, start_fake: StartFake
) -> None:
    fake = start_fake("ollama")
    fake.kill()
    portal = start_portal(server={"discover_seconds": 0.05}, backends=[fake.backend("ollama")])
    portal.await_log("ollama is dead")
    fake.restart()
    portal.await_log("ollama is live")
    assert turn(portal)[-1]["backend"] == "ollama"
    assert portal.client.get("/health").json()["status"] == "ok"


def test_ollama_host_adds_a_backend_that_auto_uses(start_portal: StartPortal, ollama: Fake) -> None:
    portal = start_portal(env={"OLLAMA_HOST": f"127.0.0.1:{ollama.port}"})
    assert turn(portal)[-1]["backend"] == "ollama"


def test_streamed_usage_is_counted_and_sent_when_asked_for(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(backends=[ollama.backend("ollama")])
    body = {
        "model": "auto",
        "messages": ASK,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    answer = portal.client.post("/v1/chat/completions", json=body)
    assert '"usage":{"prompt_tokens":11,"completion_tokens":2,"total_tokens":13}' in answer.text


@pytest.mark.parametrize(
    ("model", "stream", "usage"),
    [
        ("auto", False, True),
        ("auto", True, True),
        (f"vllm/{MODEL}", False, True),
        (f"vllm/{MODEL}", True, True),
        (f"vllm/{MODEL}", True, False),
        ("ollama/qwen2.5:7b", False, True),
    ],
)
def test_every_answer_is_counted_once(
    start_portal: StartPortal,
    ollama: Fake,
    openai_server: Fake,
    model: str,
    stream: bool,
    usage: bool,
) -> None:
    portal = start_portal(backends=[openai_server.backend("vllm"), ollama.backend("ollama")])
    body: dict[str, Any] = {"model": model, "messages": ASK, "stream": stream}
    if stream and usage:
        body["stream_options"] = {"include_usage": True}
    assert portal.client.post("/v1/chat/completions", json=body).status_code == 200
    owner = {"authorization": f"Bearer {portal.run_json()['token']}"}
    (record,) = portal.client.get("/portal/usage", headers=owner).json()["data"]
    assert record["user"] == "local"
    assert model in ("auto", f"{record['backend']}/{record['model']}")
    assert record["estimated"] is not usage
    assert (record["input_tokens"], record["output_tokens"]) == (11, 2) or not usage


def test_an_ollama_and_an_lm_studio_beside_portal_are_found_without_any_setting(
    start_portal: StartPortal, start_fake: StartFake
) -> None:
    ollama = start_fake("ollama", port=11434)
    studio = start_fake("openai_compatible", "--flavour", "lmstudio", port=1234)
    portal = start_portal(server={"probe": True})
    portal.await_log("ollama is live")
    portal.await_log("lmstudio is live")
    assert turn(portal)[-1]["backend"] == "ollama"
    listed = portal.client.get("/v1/models").json()["data"]
    assert {"ollama", "lmstudio"} <= {entry["owned_by"] for entry in listed}
    assert ollama.requests("/api/chat")
    assert not studio.requests("/v1/chat/completions")


def test_tools_of_the_client_are_returned_to_it_by_a_workspace(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    openai_server.script(tool_calls=[{"name": "weather", "arguments": {"city": "Rome"}}])
    portal = start_portal(backends=[openai_server.backend("vllm")])
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    body = {"model": "auto", "messages": ASK, "tools": [tool], "tool_choice": "required"}
    choice = portal.client.post("/v1/chat/completions", json=body).json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    arguments = choice["message"]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == {"city": "Rome"}
    sent = openai_server.requests("/v1/chat/completions")[0].json
    assert sent["tool_choice"] == "required"
    assert sent["tools"][0]["function"]["name"] == "weather"


@pytest.mark.integration
def test_an_image_for_the_embedded_model_is_the_requests_own_fault(
    start_portal: StartPortal,
) -> None:
    portal = start_portal(embedded={"enabled": True})
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    body = {"model": "auto", "messages": [{"role": "user", "content": [image]}]}
    answer = portal.client.post("/v1/chat/completions", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "no_capable_model")
    assert "can see images" in answer.json()["error"]["message"]
