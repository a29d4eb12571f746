"""What is explained is what is done: the decision, `x-portal-route`, and what the backend saw."""

import json
from typing import Any

import httpx
import pytest

from tests.conftest import StartFake, StartPortal
from tests.harness import Fake, PortalProcess, run_cli
from tests.test_cli_chat import write_config

CHAT = "/v1/chat/completions"
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
PROMPTS = {
    "auto": "Prove that there are infinitely many primes.",
    "auto-coding": "Write a function that parses INI files.",
    "auto-reasoning": "A farmer has to cross a river with a wolf, a goat and a cabbage. How?",
    "auto-fast": "hello",
    "auto-vision": "What is this?",
}
CODER = {"name": "qwen2.5-coder:7b", "family": "qwen2", "capabilities": ["completion", "tools"]}
TINY = {"name": "qwen2.5:0.5b", "family": "qwen2", "parameter_size": "494M"}
ABLE = ["qwen2.5:7b", "deepseek-r1:8b", "llava:7b", "nomic-embed-text:latest", CODER, TINY]


@pytest.fixture
def zoo(ollama: Fake) -> Fake:
    """A fake Ollama with a model for every purpose."""
    ollama.models(*ABLE)
    return ollama


def explained(portal: PortalProcess, **question: Any) -> dict[str, Any]:
    """Ask what would answer; both paths must say the same."""
    answers = [
        portal.client.post(path, json=question) for path in ("/portal/route", "/api/dry-run")
    ]
    assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
    assert answers[0].content == answers[1].content
    decision: dict[str, Any] = answers[0].json()
    return decision


def completed(portal: PortalProcess, **body: Any) -> httpx.Response:
    """Ask for real."""
    answer = portal.client.post(CHAT, json=body)
    assert answer.status_code == 200, answer.text
    return answer


def content_for(workspace: str) -> Any:
    """Give a question that suits a workspace."""
    if workspace == "auto-vision":
        return [{"type": "text", "text": PROMPTS[workspace]}, PICTURE]
    return PROMPTS[workspace]


@pytest.mark.parametrize("workspace", PROMPTS)
def test_what_is_explained_is_what_happens(
    start_portal: StartPortal, zoo: Fake, workspace: str
) -> None:
    portal = start_portal(backends=[zoo])
    messages = [{"role": "user", "content": content_for(workspace)}]
    decision = explained(portal, model=workspace, messages=messages)
    assert zoo.requests("/api/chat") == []
    answer = completed(portal, model=workspace, messages=messages)
    first = decision["candidates"][0]
    expected = [workspace, first["backend"], first["model"], decision["reason"]]
    assert answer.headers["x-portal-route"].split(";") == expected
    (asked,) = zoo.requests("/api/chat")
    assert asked.json["model"] == first["model"]
    assert decision["workspace"] == decision["requested"] == workspace


@pytest.mark.parametrize(
    ("workspace", "model"),
    [
        ("auto-coding", "qwen2.5-coder:7b"),
        ("auto-reasoning", "deepseek-r1:8b"),
        ("auto-fast", "qwen2.5:0.5b"),
        ("auto-vision", "llava:7b"),
    ],
)
def test_each_workspace_takes_the_model_that_is_made_for_it(
    start_portal: StartPortal, zoo: Fake, workspace: str, model: str
) -> None:
    portal = start_portal(backends=[zoo])
    messages = [{"role": "user", "content": content_for(workspace)}]
    decision = explained(portal, model=workspace, messages=messages)
    assert decision["candidates"][0]["model"] == model


def test_a_prompt_alone_is_a_question_too(start_portal: StartPortal, zoo: Fake) -> None:
    portal = start_portal(backends=[zoo])
    text = PROMPTS["auto"]
    messages = [{"role": "user", "content": text}]
    assert explained(portal, prompt=text) == explained(portal, messages=messages)
    decision = explained(portal, prompt=text)
    assert decision["classification"]["category"] == "math"
    assert decision["passed_over"] == [
        {"model": "ollama/nomic-embed-text:latest", "reason": "cannot chat"}
    ]
    assert decision["strategy"] == "auto"


@pytest.mark.parametrize("body", [{}, {"messages": []}, {"prompt": ""}, {"messages": None}])
def test_without_a_question_there_is_nothing_to_explain(
    start_portal: StartPortal, ollama: Fake, body: dict[str, Any]
) -> None:
    portal = start_portal(backends=[ollama])
    answer = portal.client.post("/portal/route", json=body)
    assert answer.status_code == 400
    assert "prompt" in answer.json()["error"]["message"]


def test_an_unknown_model_is_refused_by_the_explanation_as_by_the_answer(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(backends=[ollama])
    for path, body in (
        ("/portal/route", {"model": "auto-fats", "prompt": "hi"}),
        (CHAT, {"model": "auto-fats", "messages": [{"role": "user", "content": "hi"}]}),
    ):
        answer = portal.client.post(path, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
        assert "auto-fast" in answer.json()["error"]["message"]


def test_a_raw_model_is_explained_as_what_was_named(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(backends=[ollama])
    decision = explained(portal, model="ollama/qwen2.5:7b", prompt="@model:llava:7b hi")
    assert decision["candidates"] == [
        {"backend": "ollama", "model": "qwen2.5:7b", "reason": "named", "score": None}
    ]
    assert decision["workspace"] is None


@pytest.mark.parametrize(
    "typed", ["@model:llava:7b What is it?", "What is it? @model:ollama/llava:7b"]
)
def test_a_model_named_in_the_message_answers_and_does_not_see_that(
    start_portal: StartPortal, ollama: Fake, typed: str
) -> None:
    portal = start_portal(backends=[ollama])
    earlier = {"role": "user", "content": "@model:qwen2.5:7b Hello."}
    messages = [
        earlier,
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": typed},
    ]
    decision = explained(portal, messages=messages)
    assert decision["override"] in ("llava:7b", "ollama/llava:7b")
    assert [each["model"] for each in decision["candidates"]] == ["llava:7b"]
    answer = completed(portal, model="auto", messages=messages)
    assert answer.headers["x-portal-route"] == "auto;ollama;llava:7b;@model"
    (asked,) = ollama.requests("/api/chat")
    assert asked.json["model"] == "llava:7b"
    texts = [message["content"] for message in asked.json["messages"]]
    assert texts == ["Hello.", "Hi.", "What is it?"]


def test_a_pasted_model_name_and_a_raw_models_text_stay_as_they_are(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(backends=[ollama])
    pasted = "He wrote:\n> use @model:llava:7b for it\nWhat did he mean?"
    completed(portal, model="auto-fast", messages=[{"role": "user", "content": pasted}])
    typed = "@model:llava:7b What is it?"
    completed(portal, model="ollama/qwen2.5:7b", messages=[{"role": "user", "content": typed}])
    texts = [row.json["messages"][-1]["content"] for row in ollama.requests("/api/chat")]
    assert texts == [pasted, typed]


def test_a_named_model_is_never_exchanged_for_another(
    start_portal: StartPortal, ollama: Fake
) -> None:
    ollama.script(model="llava:7b", status=500, body={"error": "out of memory"})
    portal = start_portal(backends=[ollama])
    messages = [{"role": "user", "content": "@model:llava:7b hi"}]
    answer = portal.client.post(CHAT, json={"model": "auto", "messages": messages})
    assert answer.status_code == 502
    assert {row.json["model"] for row in ollama.requests("/api/chat")} == {"llava:7b"}


def test_rules_apply_to_auto_by_priority_and_to_no_other_workspace(
    start_portal: StartPortal, zoo: Fake
) -> None:
    rules = [
        {"name": "late", "pattern": "invoice", "target": "qwen2.5:0.5b"},
        {"name": "money", "pattern": r"\binvoice\b", "target": "ollama/llava:7b", "priority": 5},
        {"name": "sql", "pattern": "^select ", "target": "auto-coding", "priority": 9},
        {"name": "lost", "pattern": "treasure", "target": "ollama/not-there"},
    ]
    portal = start_portal(backends=[zoo], rules=rules)

    def first(text: str, model: str = "auto") -> tuple[str | None, str, str | None]:
        decision = explained(portal, model=model, prompt=text)
        return decision["rule"], decision["candidates"][0]["model"], decision["workspace"]

    assert first("Read this INVOICE.") == ("money", "llava:7b", "auto")
    assert first("SELECT name FROM users") == ("sql", "qwen2.5-coder:7b", "auto-coding")
    assert first("Read this invoice.", "auto-coding")[0] is None
    answer = completed(
        portal, model="auto", messages=[{"role": "user", "content": "Pay the invoice."}]
    )
    assert answer.headers["x-portal-route"] == "auto;ollama;llava:7b;rule money"
    decision = explained(portal, prompt="@model:qwen2.5:7b Read this invoice.")
    assert (decision["rule"], decision["override"]) == (None, "qwen2.5:7b")


def test_pictures_go_to_a_model_that_sees(start_portal: StartPortal, ollama: Fake) -> None:
    portal = start_portal(backends=[ollama])
    messages = [{"role": "user", "content": [{"type": "text", "text": "And this?"}, PICTURE]}]
    for workspace in ("auto", "auto-vision"):
        answer = completed(portal, model=workspace, messages=messages)
        assert answer.headers["x-portal-route"].split(";")[2] == "llava:7b"
    assert all(row.json["messages"][0]["images"] for row in ollama.requests("/api/chat"))
    decision = explained(portal, messages=messages)
    assert {"model": "ollama/qwen2.5:7b", "reason": "cannot see images"} in decision["passed_over"]


@pytest.mark.parametrize("workspace", ["auto", "auto-vision"])
def test_where_nobody_sees_a_picture_the_refusal_says_so(
    start_portal: StartPortal, ollama: Fake, workspace: str
) -> None:
    ollama.models("qwen2.5:7b")
    portal = start_portal(backends=[ollama])
    messages = [{"role": "user", "content": [{"type": "text", "text": "And this?"}, PICTURE]}]
    for path in (CHAT, "/portal/route"):
        answer = portal.client.post(path, json={"model": workspace, "messages": messages})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "no_capable_model")
        assert "see images" in answer.json()["error"]["message"]
    assert ollama.requests("/api/chat") == []


def test_a_seeing_model_whose_backend_is_down_is_no_fault_of_the_request(
    start_portal: StartPortal, start_fake: StartFake, openai_server: Fake
) -> None:
    seeing = start_fake("ollama", "--models", '["llava:7b"]')
    portal = start_portal(
        server={"discover_seconds": 0.05}, backends=[seeing.backend("eyes"), openai_server]
    )
    portal.await_log("eyes is live")
    seeing.kill()
    portal.await_log("eyes is dead")
    messages = [{"role": "user", "content": [PICTURE]}]
    answer = portal.client.post(CHAT, json={"model": "auto", "messages": messages})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_backend")
    assert "eyes/llava:7b" in answer.json()["error"]["message"]


def test_tools_go_only_to_models_that_call_them(start_portal: StartPortal, ollama: Fake) -> None:
    ollama.models("llava:7b", "qwen2.5:7b")
    portal = start_portal(
        backends=[ollama], workspaces={"seer": {"model": "llava:7b", "fallback": ["qwen2.5:7b"]}}
    )
    body = {"messages": [{"role": "user", "content": "And in Rome?"}], "tools": [WEATHER]}
    for workspace in ("auto", "seer"):
        answer = completed(portal, model=workspace, **body)
        assert answer.headers["x-portal-route"].split(";")[2] == "qwen2.5:7b"
    assert [row.json["tools"][0]["function"]["name"] for row in ollama.requests("/api/chat")] == [
        "weather",
        "weather",
    ]
    decision = explained(portal, model="seer", **body)
    assert {"model": "ollama/llava:7b", "reason": "cannot call tools"} in decision["passed_over"]
    without = explained(portal, model="seer", **body, tool_choice="none")
    assert without["candidates"][0]["model"] == "llava:7b"


def test_where_nobody_calls_tools_the_refusal_says_so(
    start_portal: StartPortal, ollama: Fake
) -> None:
    ollama.models("llava:7b")
    portal = start_portal(backends=[ollama])
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], "tools": [WEATHER]}
    answer = portal.client.post(CHAT, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "no_capable_model")
    assert "call tools" in answer.json()["error"]["message"]


def test_the_command_explains_as_the_running_portal_does(
    start_portal: StartPortal, zoo: Fake
) -> None:
    portal = start_portal(backends=[zoo])
    text = PROMPTS["auto"]
    done = run_cli("route", text, "--json", portal=portal)
    assert json.loads(done.stdout) == explained(portal, prompt=text)
    shown = run_cli("route", text, portal=portal).stdout
    assert "ollama/deepseek-r1:8b" in shown.splitlines()[0]
    assert "math" in shown
    assert "cannot chat" in shown


def test_the_command_explains_without_a_running_portal(tmp_path: Any, ollama: Fake) -> None:
    write_config(tmp_path, backends=[ollama])
    done = run_cli("route", "What is this?", "--image", "--json", folder=tmp_path)
    decision = json.loads(done.stdout)
    assert [each["model"] for each in decision["candidates"]] == ["llava:7b"]
    shown = run_cli("route", "--tools", folder=tmp_path, text="And in Rome?").stdout
    assert "cannot call tools" in shown
    assert not (tmp_path / "state").exists()
    assert ollama.requests("/api/chat") == []


def test_a_route_that_does_not_exist_is_status_1(tmp_path: Any, ollama: Fake) -> None:
    write_config(tmp_path, backends=[ollama])
    done = run_cli("route", "hi", "--model", "auto-fats", folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Did you mean 'auto-fast'?" in done.stderr
    assert run_cli("route", "  ", folder=tmp_path).returncode == 2
