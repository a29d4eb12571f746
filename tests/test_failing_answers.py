"""Answers that fail in odd ways: who takes over, what the client is told, and who is blamed."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, cast

import pytest

from portal.runtime.admission.breakers import Breakers
from portal.runtime.admission.recovery import Recovery
from portal.runtime.ops import schema
from portal.runtime.routing.registry import Registry
from tests.conftest import StartPortal
from tests.harness import Fake, PortalProcess

CHAT = "/v1/chat/completions"
ASK = [{"role": "user", "content": "What should I see in Lisbon in two days?"}]
VLLM = "vllm/Qwen/Qwen2.5-7B-Instruct"
TOKENS = ["one", " two", " three", " four"]
PAGE = "<html><body>It works!</body></html>"


def chat(portal: PortalProcess, model: str, **fields: Any) -> Any:
    return portal.client.post(CHAT, json={"model": model, "messages": ASK, **fields})


def start(start_portal: StartPortal, ollama: Fake, openai_server: Fake, **more: Any) -> Any:
    mine = {"model": "ollama/qwen2.5:7b", "fallback": [VLLM]}
    return start_portal(
        backends=[ollama.backend("ollama"), openai_server.backend("vllm")],
        workspaces={"mine": mine},
        **more,
    )


def raw(body: str, content_type: str) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nConnection: close\r\n\r\n"
    return (head + body).encode()


def breakers(portal: PortalProcess) -> list[Any]:
    health = portal.client.get("/health").json()
    return [each for backend in health["backends"] for each in backend.get("breakers", ())]


@pytest.mark.parametrize("wrong", [{"cut_after": 2}, {"error_after": 2}, {"garbage_after": 2}])
def test_a_whole_answer_that_breaks_in_the_middle_is_given_by_the_next_model(
    start_portal: StartPortal, ollama: Fake, openai_server: Fake, wrong: dict[str, int]
) -> None:
    ollama.script(path="/api/chat", tokens=TOKENS, **wrong)
    openai_server.script(path=CHAT, text="another")
    portal = start(start_portal, ollama, openai_server)
    answer = chat(portal, "mine")
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "another"
    assert answer.headers["x-portal-route"].endswith("fallback after 1 failed")


def test_a_streamed_answer_that_breaks_in_the_middle_is_never_begun_anew(
    start_portal: StartPortal, ollama: Fake, openai_server: Fake
) -> None:
    ollama.script(path="/api/chat", tokens=TOKENS, cut_after=2)
    portal = start(start_portal, ollama, openai_server)
    answer = chat(portal, "mine", stream=True)
    records = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    assert json.loads(records[-1])["error"]["code"] == "backend_broken"
    assert openai_server.requests(CHAT) == []


def test_a_whole_answer_that_nobody_can_give_tells_of_the_failures(
    start_portal: StartPortal, ollama: Fake, openai_server: Fake
) -> None:
    ollama.script(path="/api/chat", tokens=TOKENS, cut_after=2)
    openai_server.script(path=CHAT, tokens=TOKENS, cut_after=2)
    answer = chat(start(start_portal, ollama, openai_server), "mine")
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "backend_broken"


@pytest.mark.parametrize("stream", [False, True])
def test_a_page_in_place_of_an_answer_is_an_error_and_counts(
    start_portal: StartPortal, ollama: Fake, openai_server: Fake, stream: bool
) -> None:
    openai_server.script(path=CHAT, status=200, body=PAGE, content_type="text/html")
    portal = start(start_portal, ollama, openai_server)
    answer = chat(portal, VLLM, stream=stream)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "backend_broken"
    assert [each["failures"] for each in breakers(portal)] == [1]


def test_a_page_that_comes_late_ends_the_stream_with_an_error(
    start_portal: StartPortal, ollama: Fake, openai_server: Fake
) -> None:
    openai_server.script(
        path=CHAT, status=200, body=PAGE, content_type="text/html", head_delay_ms=300
    )
    portal = start(start_portal, ollama, openai_server, server={"heartbeat_seconds": 0.05})
    answer = chat(portal, VLLM, stream=True)
    assert "It works" not in answer.text
    assert "backend_broken" in answer.text


def test_a_stream_that_merely_stops_ends_with_an_error(
    start_portal: StartPortal, ollama: Fake, openai_server: Fake
) -> None:
    said = 'data: {"choices":[{"index":0,"delta":{"content":"one"},"finish_reason":null}]}\n\n'
    openai_server.script(path=CHAT, raw=raw(said, "text/event-stream"))
    portal = start(start_portal, ollama, openai_server)
    answer = chat(portal, VLLM, stream=True)
    assert answer.text.startswith(said)
    assert "backend_broken" in answer.text.removeprefix(said)
    assert [each["failures"] for each in breakers(portal)] == [1]


def test_a_stream_of_another_shape_is_passed_on_as_it_is(
    start_portal: StartPortal, ollama: Fake, openai_server: Fake
) -> None:
    said = 'data: {"choices": "of a kind that nobody knows"}\n\n'
    openai_server.script(path=CHAT, raw=raw(said, "text/event-stream"))
    portal = start(start_portal, ollama, openai_server)
    assert chat(portal, VLLM, stream=True).text == said
    assert breakers(portal) == []


def test_a_classifying_model_that_keeps_failing_is_left_alone(
    start_portal: StartPortal, ollama: Fake, openai_server: Fake
) -> None:
    openai_server.script(path=CHAT, status=500, body={"error": "no"})
    portal = start(
        start_portal,
        ollama,
        openai_server,
        routing={"classifier_model": VLLM},
        breaker={"failures": 2, "recovery_seconds": 60},
    )
    for _ in range(4):
        assert chat(portal, "mine").status_code == 200
    assert len(openai_server.requests(CHAT)) == 2


class Silent:
    """A registry of backends that are there, whatever they are asked."""

    class Backend:
        available = True

    def __init__(self, *names: str) -> None:
        self.backends = {name: self.Backend() for name in names}

    def find(self, backend: str, model: str) -> None:
        return None


async def test_a_silent_backend_is_not_tried_and_keeps_no_other_from_being_tried() -> None:
    loop = asyncio.get_running_loop()
    changes: list[Sequence[str]] = []
    first: list[str] = []
    passed = asyncio.Event()
    looks = 0
    again = asyncio.Event()

    def changed(backend: str, model: str, state: Any) -> None:
        changes.append((backend, state))
        recovery.changed(backend, model, state)
        if state == "half_open":
            first.append(every.of("silent", "model").status("model").error)
            passed.set()

    async def look(name: str) -> None:
        nonlocal looks
        if name == "silent":
            looks += 1
            if looks == 2:
                again.set()
            await asyncio.Event().wait()

    settings = schema.Breaker(failures=1, recovery_seconds=0.2, max_recovery_seconds=0.2)
    every = Breakers(settings, clock=loop.time, on_change=changed, probe_seconds=0.2)
    registry = cast("Registry", Silent("silent", "well"))
    recovery = Recovery(every, registry, look, recovery_seconds=0.2)
    recovery.start()
    try:
        for name in ("silent", "well"):
            permit = every.of(name, "model").acquire()
            assert permit is not None
            permit.failed("it broke")
        async with asyncio.timeout(20):
            await passed.wait()
            await again.wait()
    finally:
        await recovery.stop()
    assert ("well", "half_open") in changes
    assert ("silent", "half_open") not in changes
    assert first == ["it broke"], "it was tried before the silent one was given up"
    assert (
        every.of("silent", "model").status("model").error == "its backend does not answer in time"
    )
