"""A client that leaves frees its backend at once, whatever it was waiting for."""

from typing import Any

import httpx
import pytest

from tests.conftest import StartPortal
from tests.harness import Fake, PortalProcess

ASK = [{"role": "user", "content": "hi"}]
MODEL = "Qwen/Qwen2.5-7B-Instruct"
TOKENS = [f" {number}" for number in range(50)]


def leave_mid_stream(portal: PortalProcess, path: str, body: dict[str, Any]) -> None:
    """Read the first event of a stream, then close the connection."""
    with (
        httpx.Client(base_url=portal.url, trust_env=False, timeout=30) as client,
        client.stream("POST", path, json=body) as answer,
    ):
        assert answer.status_code == 200
        next(answer.iter_bytes())


def leave_while_waiting(portal: PortalProcess, path: str, body: dict[str, Any]) -> None:
    """Give up on an answer that has not begun."""
    with (
        httpx.Client(base_url=portal.url, trust_env=False, timeout=0.3) as client,
        pytest.raises(httpx.ReadTimeout),
    ):
        client.post(path, json=body)


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "raw": ("/v1/chat/completions", {"model": f"vllm/{MODEL}", "messages": ASK, "stream": True}),
    "auto on openai": ("/v1/chat/completions", {"model": "auto", "messages": ASK, "stream": True}),
    "turn": ("/portal/turns", {"messages": ASK}),
}


@pytest.mark.parametrize("case", CASES)
def test_leaving_a_stream_closes_the_upstream_before_its_next_tokens(
    start_portal: StartPortal, openai_server: Fake, case: str
) -> None:
    openai_server.script(tokens=TOKENS, manual=True)
    portal = start_portal(backends=[openai_server.backend("vllm")])
    openai_server.step(1)
    leave_mid_stream(portal, *CASES[case])
    openai_server.wait("closed", path="/v1/chat/completions")
    record = openai_server.requests("/v1/chat/completions")[0]
    assert (record.state, record.closed_after) == ("client_closed", 1)


def test_leaving_a_stream_from_ollama_closes_it_too(
    start_portal: StartPortal, ollama: Fake
) -> None:
    ollama.script(tokens=TOKENS, manual=True)
    portal = start_portal(backends=[ollama.backend("ollama")])
    ollama.step(1)
    leave_mid_stream(
        portal, "/v1/chat/completions", {"model": "auto", "messages": ASK, "stream": True}
    )
    ollama.wait("closed", path="/api/chat")
    assert ollama.requests("/api/chat")[0].closed_after == 1


@pytest.mark.parametrize("model", [f"vllm/{MODEL}", "auto"])
@pytest.mark.parametrize("stream", [False, True])
def test_leaving_before_the_first_token_closes_the_upstream(
    start_portal: StartPortal, openai_server: Fake, model: str, stream: bool
) -> None:
    openai_server.script(hang=True)
    portal = start_portal(backends=[openai_server.backend("vllm")])
    body = {"model": model, "messages": ASK, "stream": stream}
    leave_while_waiting(portal, "/v1/chat/completions", body)
    openai_server.wait("closed", path="/v1/chat/completions")
    assert openai_server.requests("/v1/chat/completions")[0].state == "client_closed"


def test_leaving_during_heartbeats_closes_the_upstream(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    openai_server.script(hang=True)
    portal = start_portal(
        server={"heartbeat_seconds": 0.05}, backends=[openai_server.backend("vllm")]
    )
    for model in (f"vllm/{MODEL}", "auto"):
        body = {"model": model, "messages": ASK, "stream": True}
        leave_mid_stream(portal, "/v1/chat/completions", body)
    openai_server.wait("closed", count=2, path="/v1/chat/completions")


def test_a_client_that_stays_gets_every_token_of_a_slow_backend(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    openai_server.script(tokens=TOKENS, interval_ms=2)
    portal = start_portal(backends=[openai_server.backend("vllm")])
    body = {"model": "auto", "messages": ASK}
    answer = portal.client.post("/v1/chat/completions", json=body).json()
    assert answer["choices"][0]["message"]["content"] == "".join(TOKENS)
    assert openai_server.requests("/v1/chat/completions")[0].state == "finished"
