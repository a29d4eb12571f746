"""The raw gateway: a request goes to its backend, and the answer's bytes come back as they are."""

import asyncio
import contextlib
import functools
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping

import msgspec

from portal.runtime.backends.backend import Backend, OpenAIDialect, Reply
from portal.runtime.routing.metering import metered, usage_record
from portal.runtime.routing.registry import Registry
from portal.shared.contract import Call, RawReply, Stream
from portal.shared.errors import UnknownModel
from portal.shared.models import Target
from portal.shared.ports import UsageLog
from portal.shared.turns import ModelEvent, ModelRequest, Usage

ANSWER_LIMIT = 64 * 1024 * 1024
TAIL = 8 * 1024
"""Bytes of a stream's end that are kept to read its usage from."""

BYTES = "application/octet-stream"
NOT_RELAYED = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding "
    b"upgrade content-length date server set-cookie x-request-id alt-svc clear-site-data "
    b"strict-transport-security x-content-type-options".split()
)
"""Headers that belong to one connection, or speak for the server that set them."""


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Answer(msgspec.Struct):
    usage: _Usage | None = None


_decode = msgspec.json.Decoder(_Answer).decode
_encode = msgspec.json.Encoder().encode


class RawGateway:
    """Implements the Gateway port over the registry's backends.

    `patience`: seconds after which a stream begins although its backend has sent no head yet.
    """

    def __init__(self, registry: Registry, usage: UsageLog, *, patience: float) -> None:
        self._registry = registry
        self._usage = usage
        self._patience = patience

    async def relay(
        self,
        call: Call,
        target: Target,
        path: str,
        fields: Mapping[str, msgspec.Raw],
        *,
        stream: bool,
    ) -> RawReply | Stream:
        backend = self._backend(target)
        body = _encode({**fields, "model": msgspec.Raw(_encode(target.model))})
        call.route = route_of(target)
        count = functools.partial(self._count, call, target)
        call.begin_wait()
        try:
            if stream:
                pending = asyncio.ensure_future(backend.send(path, body))
                try:
                    await asyncio.wait((pending,), timeout=self._patience)
                except asyncio.CancelledError:
                    drop(pending)
                    raise
                if not pending.done():
                    # Prefill takes minutes on a CPU; some servers send no head before its end.
                    return Stream(late_stream(call, pending, backend, count), overdue=True)
                reply = pending.result()
            else:
                reply = await backend.send(path, body)
            media_type, headers = _headers(reply)
            if stream and reply.status == 200 and not media_type.startswith("application/json"):
                call.end_wait()
                items = RelayedStream(reply, count)
                return Stream(items, media_type=media_type or BYTES, headers=headers)
            try:
                answer = await reply.read(ANSWER_LIMIT)
            finally:
                await reply.aclose()
        except Exception:
            call.end_wait()
            raise
        call.end_wait()
        if reply.status == 200:
            count(usage_of(answer))
        if media_type:
            headers = ((b"content-type", media_type.encode("latin-1")), *headers)
        return RawReply(reply.status, headers, answer)

    def generate(
        self, call: Call, target: Target, request: ModelRequest
    ) -> AsyncGenerator[ModelEvent, None]:
        backend = self._registry.backends.get(target.backend)
        if backend is None:
            raise _no_such(target)
        call.route = route_of(target)
        request = msgspec.structs.replace(request, model=target.model)
        call.dropped += backend.drops(request)
        events = backend.generate(request)
        return metered(call, self._usage, target.backend, target.model, events)

    def _backend(self, target: Target) -> OpenAIDialect:
        backend: Backend | None = self._registry.backends.get(target.backend)
        if backend is None:
            raise _no_such(target)
        return backend  # type: ignore[return-value]

    def _count(self, call: Call, target: Target, usage: Usage) -> None:
        self._usage.record(usage_record(call, target.backend, target.model, usage))


class RelayedStream:
    """A backend's bytes on their way to the client, with an eye on the usage at their end."""

    def __init__(self, reply: Reply, count: Callable[[Usage], None]) -> None:
        self._reply = reply
        self._chunks = aiter(reply)
        self._count = count
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._events = 0
        self._counted = False

    def __aiter__(self) -> "RelayedStream":
        return self

    async def __anext__(self) -> bytes:
        data = await anext(self._chunks)
        self._events += data.count(b"data:")
        self._tail.append(data)
        self._tail_size += len(data)
        while self._tail_size - len(self._tail[0]) > TAIL:
            self._tail_size -= len(self._tail.popleft())
        return data

    async def aclose(self) -> None:
        """Close the backend's connection, at once when it is not at its end; count what was."""
        await self._reply.aclose()
        if self._events and not self._counted:
            self._counted = True
            self._count(usage_of_stream(b"".join(self._tail), self._events))


async def late_stream(
    call: Call,
    pending: asyncio.Future[Reply],
    backend: OpenAIDialect,
    count: Callable[[Usage], None],
) -> AsyncGenerator[bytes, None]:
    """Wait on for a head that is late; a refusal can then only be told as an error event."""
    try:
        reply = await asyncio.shield(pending)
    except asyncio.CancelledError:
        drop(pending)
        raise
    finally:
        call.end_wait()
    items = RelayedStream(reply, count)
    async with contextlib.aclosing(items):
        if reply.status != 200:
            raise await backend.refusal(reply)
        async for data in items:
            yield data


def drop(pending: asyncio.Future[Reply]) -> None:
    """Give up a request under way, and close its answer should it have come meanwhile."""

    def close(ended: asyncio.Future[Reply]) -> None:
        if not ended.cancelled() and ended.exception() is None:
            closing.append(asyncio.ensure_future(ended.result().aclose()))

    closing: list[asyncio.Future[None]] = []
    pending.add_done_callback(close)
    pending.cancel()


def usage_of(answer: bytes) -> Usage:
    """Read the usage of a whole answer; estimated from its length where it has none."""
    try:
        usage = _decode(answer).usage
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        usage = None
    if usage is None:
        return Usage(0, len(answer) // 4, estimated=True)
    return Usage(usage.prompt_tokens, usage.completion_tokens)


def usage_of_stream(tail: bytes, events: int) -> Usage:
    """Read the usage chunk near a stream's end; else estimate a token per event."""
    start = tail.rfind(b'"usage"')
    while start >= 0:
        begin, end = tail.rfind(b"data:", 0, start), tail.find(b"\n", start)
        usage = usage_of(tail[begin + 5 : end if end >= 0 else None]) if begin >= 0 else None
        if usage is not None and not usage.estimated:
            return usage
        start = tail.rfind(b'"usage"', 0, start)
    return Usage(0, events, estimated=True)


def route_of(target: Target) -> str:
    """Write the route of a raw model, which nobody chose but the caller."""
    return f"-;{target.backend};{target.model};named"


def _headers(reply: Reply) -> tuple[str, tuple[tuple[bytes, bytes], ...]]:
    """Split the media type, empty if there is none, from the other headers for the client."""
    media_type = ""
    kept = []
    named: list[bytes] = []
    for name, value in reply.headers:
        if name == b"content-type":
            media_type = value.decode("latin-1")
        elif name == b"connection":
            named += [each.strip() for each in value.lower().split(b",")]
        elif name not in NOT_RELAYED and not name.startswith((b"access-control-", b"x-portal-")):
            kept.append((name, value))
    return media_type, tuple((name, value) for name, value in kept if name not in named)


def _no_such(target: Target) -> UnknownModel:
    return UnknownModel(f"There is no backend {target.backend!r}.", param="model")
