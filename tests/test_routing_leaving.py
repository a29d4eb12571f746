"""Whoever leaves, at whatever point, takes no place, permit or connection with him."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from portal.runtime.admission.breakers import Breakers
from portal.runtime.admission.load import Load
from portal.runtime.admission.passage import Passages
from portal.runtime.backends.backend import JSON, Headers
from portal.runtime.ops import schema
from portal.runtime.routing.answering import Answering
from portal.runtime.routing.discovery import Discovery
from portal.runtime.routing.pace import Pace
from portal.runtime.routing.registry import Registry
from portal.runtime.routing.relay import RawGateway
from portal.runtime.routing.usage import UsageRing
from portal.runtime.windows.fitting import Fitting
from portal.shared.contract import Call, Caller, Stream
from portal.shared.errors import BackendUnreachable
from portal.shared.messages import Message
from portal.shared.models import Target
from portal.shared.turns import Finish, ModelEvent, ModelRequest, Text, Usage

STEPS = 40
"""Turns of the event loop, more than any of the answers here takes."""
SETTINGS = schema.Settings(data_dir=Path("data"), state_dir=Path("state"))
TARGET = Target("one/m", backend="one", model="m", kind="openai")
PIECES = (
    b'data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    b"data: [DONE]\n\n",
)


class Reply:
    """An answer that takes a turn of the loop for each piece."""

    status = 200

    def __init__(self, backend: "Backend") -> None:
        self.headers = [(b"content-type", b"text/event-stream")]
        self._backend = backend
        backend.open += 1
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in PIECES:
            await asyncio.sleep(0)
            yield piece

    async def read(self, limit: int) -> bytes:
        await asyncio.sleep(0)
        return b'{"choices":[{"finish_reason":"stop","message":{"content":"hi"}}]}'[:limit]

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._backend.open -= 1


class Backend:
    """Counts the answers that are open; refuses the first connection."""

    name, kind, available = "one", "openai", True

    def __init__(self) -> None:
        self.open = 0
        self._refused = False

    def models(self) -> tuple[()]:
        return ()

    def drops(self, _: ModelRequest) -> tuple[str, ...]:
        return ()

    async def send(
        self, path: str, body: bytes, *, method: str = "POST", headers: Headers = JSON
    ) -> Reply:
        for _ in range(3):
            await asyncio.sleep(0)
        self._refuse_once()
        return Reply(self)

    async def generate(self, _: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        self._refuse_once()
        self.open += 1
        try:
            for event in (Text("a"), Text("b"), Usage(3, 2), Finish("stop")):
                await asyncio.sleep(0)
                yield event
        finally:
            self.open -= 1
            await asyncio.sleep(0)

    def _refuse_once(self) -> None:
        if not self._refused:
            self._refused = True
            raise BackendUnreachable("refused")


class Desk:
    """A gateway to one backend; the next request has to wait for its turn."""

    def __init__(self, patience: float) -> None:
        self.backend = Backend()
        self.load = Load(schema.Load(max_concurrency=1), {})
        self.breakers = Breakers(schema.Breaker(failures=1))
        routing = schema.Routing(connect_retries=1, retry_seconds=1e-9)
        answering = Answering(
            Passages(self.breakers, self.load),
            UsageRing(),
            Pace(),
            routing,
            counted=lambda *_: None,
            used=lambda *_: None,
        )
        registry = Registry([self.backend], SETTINGS)  # type: ignore[list-item]
        discovery = Discovery([], interval=60, changed=lambda _: None)
        self.gateway = RawGateway(
            registry,
            discovery,
            answering,
            Fitting(registry),
            patience=patience,
            settings=routing,
        )
        self.call = Call("id", Caller("user", "key", frozenset()), "test", 0.0)

    async def relay(self, *, stream: bool) -> None:
        fields = {"model": msgspec.Raw(b'"m"'), "messages": msgspec.Raw(b"[]")}
        result = await self.gateway.relay(
            self.call, TARGET, "/v1/chat/completions", fields, stream=stream
        )
        if isinstance(result, Stream):
            items: Any = result.items
            try:
                async for _ in items:
                    pass
            finally:
                await items.aclose()

    async def generate(self) -> None:
        request = ModelRequest("m", (Message("user", "hi"),))
        events = self.gateway.generate(self.call, TARGET, request)
        try:
            async for _ in events:
                pass
        finally:
            await events.aclose()


WAYS = {
    "whole": lambda desk: desk.relay(stream=False),
    "stream": lambda desk: desk.relay(stream=True),
    "translated": lambda desk: desk.generate(),
}


@pytest.mark.parametrize("patience", [0.0, 60.0])
@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_left_behind_wherever_a_client_leaves(way: str, patience: float) -> None:
    ended_by_itself = 0
    for steps in range(STEPS):
        desk = Desk(patience)
        first, second = (asyncio.create_task(WAYS[way](desk)) for _ in range(2))
        for _ in range(steps):
            await asyncio.sleep(0)
        ended_by_itself += first.done()
        first.cancel()
        async with asyncio.timeout(10):
            await asyncio.gather(first, second, return_exceptions=True)
        assert not second.cancelled()
        assert second.exception() is None
        for _ in range(5):
            await asyncio.sleep(0)
        figures = desk.load.figures()
        assert (figures.running, figures.waiting, desk.backend.open) == (0, 0, 0)
        assert desk.breakers.of("one", "m").state == "closed"
        assert desk.load.has_place("key", "one", "m")
    assert 0 < ended_by_itself < STEPS
