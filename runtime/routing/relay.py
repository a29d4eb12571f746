"""The raw gateway: a request goes to its backend, and the answer's bytes come back as they are."""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Mapping

import msgspec

from portal.runtime.admission.passage import Passage
from portal.runtime.backends.backend import JSON, Backend, Headers, Reply
from portal.runtime.backends.embedded_errors import error_of
from portal.runtime.ops import schema
from portal.runtime.routing.answering import Answering, usage_record
from portal.runtime.routing.discovery import Discovery
from portal.runtime.routing.forwarding import forward
from portal.runtime.routing.registry import Registry
from portal.runtime.routing.relayed import NO_ANSWER, LateStream, RelayedStream, Verdict, judge
from portal.runtime.routing.relayed_head import split_head, typed
from portal.runtime.windows.fitting import Fitting
from portal.shared.contract import Call, RawReply, Stream
from portal.shared.errors import BackendBroken, BackendError, BackendUnreachable, UnknownModel
from portal.shared.models import Target
from portal.shared.turns import ModelEvent, ModelRequest

ANSWER_LIMIT = 64 * 1024 * 1024
BYTES = "application/octet-stream"
WHOLE = ("application/json", "text/html")
"""Types of what is no stream, whatever was asked for: an answer, an error, a page."""
ANSWERING = frozenset({"/v1/chat/completions", "/v1/completions", "/api/chat", "/api/generate"})
"""Paths whose answers can be judged; of what comes from others only the status is understood."""

_encode = msgspec.json.Encoder().encode


class RawGateway:
    """Implements the Gateway port over the registry's backends.

    `patience`: seconds after which a stream begins although its backend has sent no head yet.
    """

    def __init__(
        self,
        registry: Registry,
        discovery: Discovery,
        answering: Answering,
        fitting: Fitting,
        *,
        patience: float,
        settings: schema.Routing,
    ) -> None:
        self._registry = registry
        self._discovery = discovery
        self._answering = answering
        self._fitting = fitting
        self._patience = patience
        self._settings = settings

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
        self._fitting.check_raw(target, fields)
        body = _encode({**fields, "model": msgspec.Raw(_encode(target.model))})
        call.route = route_of(target)
        judged = path in ANSWERING
        passage = await self._answering.passages.enter(call, target.backend, target.model)
        handed_on = False
        call.begin_wait()
        try:
            if stream:
                pending = asyncio.ensure_future(self._send(backend, path, body))
                # A silence can be filled only in server-sent events, and only where they are sure.
                patience = self._patience if judged and path.startswith("/v1/") else None
                try:
                    await asyncio.wait((pending,), timeout=patience)
                except asyncio.CancelledError:
                    drop(pending)
                    raise
                if not pending.done():
                    # Prefill takes minutes on a CPU; some servers send no head before its end.
                    waiting = self._late(call, target, pending, backend, passage)
                    handed_on = True
                    return Stream(waiting, overdue=True)
                reply = pending.result()
            else:
                reply = await self._send(backend, path, body)
            media_type, headers = split_head(reply)
            if stream and reply.status == 200 and not media_type.startswith(WHOLE):
                items = self._relayed(call, target, reply, passage, judged=judged)
                handed_on = True
                return Stream(items, media_type=media_type or BYTES, headers=headers)
            try:
                answer = await reply.read(ANSWER_LIMIT)
            finally:
                await reply.aclose()
            self._judge(call, target, reply, answer, passage, judged=judged)
            if reply.status != 200 and backend.kind == "embedded":
                # Its server is Portal's own child, so its errors are Portal's.
                raise error_of(reply.status, answer)
        except BackendError as error:
            passage.failed(error)
            raise
        finally:
            call.end_wait()
            if not handed_on:
                passage.close()
        return RawReply(reply.status, typed(media_type, headers), answer)

    async def forward(
        self,
        call: Call,
        backend: str,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        media_type: str = "application/json",
        changes: bool = False,
    ) -> RawReply | Stream:
        server = self._registry.backends.get(backend)
        if server is None:
            raise _no_such(backend)
        call.route = f"-;{backend};-;passed on"

        async def changed() -> None:
            await self._discovery.look(backend)

        head = typed(media_type, ())
        call.begin_wait()
        try:
            reply = await self._send(server, path, body, method=method, headers=head)
            return await forward(reply, method, changed=changed if changes else None)
        finally:
            call.end_wait()

    async def _send(
        self,
        backend: Backend,
        path: str,
        body: bytes,
        *,
        method: str = "POST",
        headers: Headers = JSON,
    ) -> Reply:
        """Send; a refused connection, over which nothing went, is tried again."""
        tries, pause = self._settings.connect_retries, self._settings.retry_seconds
        while True:
            try:
                return await backend.send(path, body, method=method, headers=headers)
            except BackendUnreachable:
                if not tries:
                    raise
            tries -= 1
            await asyncio.sleep(pause * (0.5 + random.random()))  # noqa: S311 — no secret
            pause *= 2

    def generate(
        self, call: Call, target: Target, request: ModelRequest
    ) -> AsyncGenerator[ModelEvent, None]:
        backend = self._backend(target)
        call.route = route_of(target)
        if self._discovery.is_round:
            return self._generate(call, target, backend, request)
        return self._generate_late(call, target, backend, request)

    def _generate(
        self, call: Call, target: Target, backend: Backend, request: ModelRequest
    ) -> AsyncGenerator[ModelEvent, None]:
        request = self._fitting.of_raw(target, request)
        call.dropped += backend.drops(request)
        return self._answering.answer(call, backend, request, whole=False, retry=True)

    async def _generate_late(
        self, call: Call, target: Target, backend: Backend, request: ModelRequest
    ) -> AsyncGenerator[ModelEvent, None]:
        """Wait until the model's window is known: told another later, Ollama would reload it."""
        await self._discovery.first_round()
        events = self._generate(call, target, backend, request)
        async with contextlib.aclosing(events) as source:
            async for event in source:
                yield event

    def _backend(self, target: Target) -> Backend:
        backend = self._registry.backends.get(target.backend)
        if backend is None:
            raise _no_such(target.backend)
        return backend

    def _relayed(
        self, call: Call, target: Target, reply: Reply, passage: Passage, *, judged: bool = True
    ) -> RelayedStream:
        def ended(verdict: Verdict | None, error: BackendError | None) -> None:
            if error is not None:
                passage.failed(error)
            if verdict is not None:
                self._note(call, target, verdict, passage, judged=judged)
            passage.close()

        limit, first = self._settings.token_seconds, self._settings.first_token_seconds
        return RelayedStream(
            reply, ended, token_seconds=limit, first_seconds=max(first, limit), judged=judged
        )

    def _late(
        self,
        call: Call,
        target: Target,
        pending: asyncio.Future[Reply],
        backend: Backend,
        passage: Passage,
    ) -> LateStream:
        """Wait on for a head that is late; a refusal can then only be told as an error event."""

        async def begin() -> RelayedStream:
            call.begin_wait()
            try:
                reply = await asyncio.shield(pending)
                if reply.status != 200:
                    raise await _late_refusal(backend, reply)
                if split_head(reply)[0].startswith("text/html"):
                    await reply.aclose()
                    raise _no_answer(target)
            except BackendError as error:
                passage.failed(error)
                raise
            finally:
                call.end_wait()
            return self._relayed(call, target, reply, passage)

        def give_up() -> None:
            drop(pending)
            passage.close()

        return LateStream(begin, give_up)

    def _judge(
        self,
        call: Call,
        target: Target,
        reply: Reply,
        answer: bytes,
        passage: Passage,
        *,
        judged: bool,
    ) -> None:
        """Hold a whole answer, which is passed on as it is, for or against its model.

        Raises BackendBroken for what is none at all.
        """
        if reply.status == 200:
            verdict = judge(answer)
            self._note(call, target, verdict, passage, judged=judged)
            if judged and verdict.fault == NO_ANSWER:
                # No client could read it, nor tell whose fault that is.
                raise _no_answer(target)
        else:
            passage.failed(self._backend(target).refused(reply, answer))

    def _note(
        self, call: Call, target: Target, verdict: Verdict, passage: Passage, *, judged: bool
    ) -> None:
        usage = verdict.usage
        if (judged or not usage.estimated) and (usage.input_tokens or usage.output_tokens):
            record = usage_record(call, target.backend, target.model, usage)
            self._answering.usage.record(record)
        if judged and verdict.fault:
            passage.failed(BackendBroken(f"The answer of {target.backend}: {verdict.fault}."))
        elif verdict.whole:
            passage.succeeded()
            self._answering.used(target.backend, target.model)


def _no_answer(target: Target) -> BackendBroken:
    return BackendBroken(
        f"The backend {target.backend} answered with something else than an answer. Is its kind "
        "right, and its url without a further path?",
        backend=target.backend,
    )


def drop(pending: asyncio.Future[Reply]) -> None:
    """Give up a request under way, and close its answer should it have come meanwhile."""

    def close(ended: asyncio.Future[Reply]) -> None:
        if not ended.cancelled() and ended.exception() is None:
            closing.append(asyncio.ensure_future(ended.result().aclose()))

    closing: list[asyncio.Future[None]] = []
    pending.add_done_callback(close)
    pending.cancel()


async def _late_refusal(backend: Backend, reply: Reply) -> Exception:
    if backend.kind != "embedded":
        return await backend.refusal(reply)
    try:
        return error_of(reply.status, await reply.read(ANSWER_LIMIT))
    finally:
        await reply.aclose()


def route_of(target: Target) -> str:
    """Write the route of a raw model, which nobody chose but the caller."""
    return f"-;{target.backend};{target.model};named"


def _no_such(backend: str) -> UnknownModel:
    return UnknownModel(f"There is no backend {backend!r}.", param="model")
