"""Thoughts and calls that models write as text, cleaned on their way through `portal up`."""

from typing import Any

import pytest

from tests.conftest import StartPortal
from tests.harness import Fake, PortalProcess

ASK = [{"role": "user", "content": "hello"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
ONE = {"one": {"model": "ollama/qwen2.5:7b"}}


def choice(portal: PortalProcess, model: str, **fields: Any) -> Any:
    body = {"model": model, "messages": ASK, **fields}
    return portal.client.post("/v1/chat/completions", json=body).json()["choices"][0]


@pytest.mark.parametrize("model", ["one", "ollama/qwen2.5:7b"])
def test_thoughts_within_the_text_come_apart_from_it(
    start_portal: StartPortal, ollama: Fake, model: str
) -> None:
    ollama.script(tokens=["<thi", "nk>let me", " see</th", "ink>\n\nIt is", " 4."])
    portal = start_portal(backends=[ollama.backend("ollama")], workspaces=ONE)
    message = choice(portal, model)["message"]
    assert (message["reasoning_content"].strip(), message["content"]) == ("let me see", "It is 4.")


@pytest.mark.parametrize("model", ["one", "ollama/qwen2.5:7b"])
def test_a_call_written_as_text_is_a_call(
    start_portal: StartPortal, ollama: Fake, model: str
) -> None:
    written = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
    ollama.script(tokens=[written[:20], written[20:45], written[45:]])
    portal = start_portal(backends=[ollama.backend("ollama")], workspaces=ONE)
    found = choice(portal, model, tools=[TOOL])
    (call,) = found["message"]["tool_calls"]
    assert found["finish_reason"] == "tool_calls"
    assert call["function"]["name"] == "weather"
    assert '"Oslo"' in call["function"]["arguments"]
    assert not found["message"]["content"]


def test_without_tools_the_same_text_stays_text(start_portal: StartPortal, ollama: Fake) -> None:
    written = '{"name": "weather", "arguments": {"city": "Oslo"}}'
    ollama.script(tokens=[written])
    portal = start_portal(backends=[ollama.backend("ollama")], workspaces=ONE)
    assert choice(portal, "one")["message"]["content"] == written


def test_json_that_was_asked_for_is_no_call(start_portal: StartPortal, ollama: Fake) -> None:
    written = '{"name": "weather", "arguments": {"city": "Oslo"}}'
    ollama.script(tokens=[written])
    portal = start_portal(backends=[ollama.backend("ollama")], workspaces=ONE)
    asked = {"tools": [TOOL], "response_format": {"type": "json_object"}}
    assert choice(portal, "one", **asked)["message"]["content"] == written


def test_a_raw_answer_in_the_same_dialect_is_never_touched(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    openai_server.script(tokens=["<think>hm</think>", "4"])
    portal = start_portal(backends=[openai_server.backend("vllm")])
    message = choice(portal, "vllm/Qwen/Qwen2.5-7B-Instruct")["message"]
    assert message["content"] == "<think>hm</think>4"


def test_a_thought_without_an_answer_is_an_error_however_it_was_written(
    start_portal: StartPortal, ollama: Fake
) -> None:
    ollama.script(path="/api/chat", tokens=["<think>", "round and round", "</think>"])
    portal = start_portal(backends=[ollama.backend("ollama")], workspaces=ONE)
    answer = portal.client.post("/portal/turns", json={"messages": ASK, "workspace": "one"})
    assert "gave no answer" in answer.text
