"""The turn: one question answered for a workspace, by the best model that can.

All workspace traffic goes through here. Falls back to the next candidate as long as nothing has
been shown; afterwards a failure is told, never papered over with a second answer.
"""

import contextlib
import logging
from collections.abc import AsyncGenerator

import msgspec

from portal.runtime.agent.chain import Chain
from portal.runtime.ops import schema
from portal.runtime.routing.answering import Answering
from portal.runtime.routing.registry import Registry
from portal.runtime.routing.router import Routed, Router
from portal.runtime.windows.fitting import Fitted, Fitting
from portal.shared.contract import Call
from portal.shared.decisions import Candidate, Decision
from portal.shared.errors import (
    BackendError,
    BackendPaused,
    ContextLengthExceeded,
    InvalidRequest,
    RateLimited,
)
from portal.shared.messages import build_messages
from portal.shared.turns import (
    Error,
    Finish,
    ModelEvent,
    ModelRequest,
    Notice,
    Text,
    TurnEvent,
    TurnRequest,
    Usage,
)

log = logging.getLogger("portal.turn")

CARE = 1.6
"""How much longer a prompt is taken for after a backend found it too long."""

CUT = (
    "The backend did not read all of the conversation, since it is longer than the model's window; "
    "x-portal-context has the numbers."
)


class TurnRunner:
    """Implements the Turns port."""

    def __init__(
        self,
        registry: Registry,
        router: Router,
        answering: Answering,
        fitting: Fitting,
    ) -> None:
        self._registry = registry
        self._router = router
        self._answering = answering
        self._fitting = fitting

    async def run(self, call: Call, request: TurnRequest) -> AsyncGenerator[TurnEvent, None]:
        routed = await self._router.route(call, request)
        decision = routed.decision
        model_request = _model_request(request, routed)
        load, key = self._answering.passages.load, call.caller.key
        chain = Chain(
            decision.candidates, lambda each: load.has_place(key, each.backend, each.model)
        )
        for candidate in chain:
            try:
                asked, source, first = await self._fitted(
                    call,
                    candidate,
                    model_request,
                    routed.profile,
                    retry=chain.is_last_backend(candidate),
                )
                call.context = asked.told
                if request.whole:
                    source = await _gathered(source)
            except (BackendError, InvalidRequest, RateLimited) as error:
                # Not every dialect has a place for everything, so another may take the request.
                chain.failed(candidate, error)
                if not isinstance(error, BackendPaused | RateLimited):
                    log.warning("%s failed: %s", candidate.name, error.message)
                continue
            failures = chain.failures
            async with contextlib.aclosing(source):
                backend = self._registry.backends[candidate.backend]
                call.route = _route(decision, candidate, failed=len(failures))
                call.dropped += backend.drops(asked.request)
                yield Notice("route", call.route)
                for failure in failures:
                    yield Notice("fallback", failure)
                if asked.told:
                    yield Notice("context", asked.said)
                try:
                    yield _signed(first, candidate)
                    async for event in source:
                        # The one path that is paid for with every token.
                        yield event if type(event) is Text else _signed(event, candidate)
                        if call.context != asked.told and type(event) is Usage:
                            yield Notice("truncated", CUT)
                except BackendError as error:
                    log.warning("%s broke within an answer: %s", candidate.name, error.message)
                    yield Error(error.code, error.message)
                return
        raise chain.error()

    async def _fitted(
        self,
        call: Call,
        candidate: Candidate,
        request: ModelRequest,
        profile: schema.Workspace,
        *,
        retry: bool,
    ) -> tuple[Fitted, AsyncGenerator[ModelEvent, None], ModelEvent]:
        """Begin with as much of the conversation as fits.

        With less where the backend finds it too long all the same: a length is only estimated.
        """
        asked = await self._fitting.fit(request, candidate, profile)
        try:
            source, first = await self._begin(call, candidate, asked.request, retry=retry)
        except ContextLengthExceeded:
            if profile.trim == "never":
                raise
            refused = asked.request.messages
            asked = await self._fitting.fit(request, candidate, profile, care=CARE)
            if asked.request.messages == refused:
                raise
            source, first = await self._begin(call, candidate, asked.request, retry=retry)
        return asked, source, first

    async def _begin(
        self, call: Call, candidate: Candidate, request: ModelRequest, *, retry: bool
    ) -> tuple[AsyncGenerator[ModelEvent, None], ModelEvent]:
        """Start an answer and await its first event.

        A refused connection, over which nothing was sent, is tried again where no other backend
        is left to take over.
        """
        backend = self._registry.backends[candidate.backend]
        source = self._answering.answer(call, backend, request, whole=True, retry=retry)
        try:
            return source, await anext(source)
        except BaseException:
            await source.aclose()
            raise


async def _gathered(
    source: AsyncGenerator[ModelEvent, None],
) -> AsyncGenerator[ModelEvent, None]:
    """Await all of an answer, to be given once it is certain that it is one."""
    async with contextlib.aclosing(source):
        events = [event async for event in source]

    async def given() -> AsyncGenerator[ModelEvent, None]:
        for event in events:
            yield event

    return given()


def _signed(event: ModelEvent, candidate: Candidate) -> TurnEvent:
    """Let the last event of an answer say who made it."""
    if isinstance(event, Finish):
        return Finish(event.reason, candidate.backend, candidate.model)
    return event


def _route(decision: Decision, candidate: Candidate, *, failed: int) -> str:
    reason = f"fallback after {failed} failed" if failed else decision.reason
    return f"{decision.workspace or '-'};{candidate.backend};{candidate.model};{reason}"


def _model_request(request: TurnRequest, routed: Routed) -> ModelRequest:
    profile, sampling = routed.profile, request.sampling
    if sampling.temperature is None or sampling.max_tokens is None:
        sampling = msgspec.structs.replace(
            sampling,
            temperature=(
                profile.temperature if sampling.temperature is None else sampling.temperature
            ),
            max_tokens=profile.max_tokens if sampling.max_tokens is None else sampling.max_tokens,
        )
    return ModelRequest(
        model="",
        messages=tuple(build_messages(system_prompt=profile.system, messages=routed.messages)),
        sampling=sampling,
        tools=request.tools,
        tool_choice=request.tool_choice,
        response_format=request.response_format,
        reasoning_effort=request.reasoning_effort,
        parallel_tool_calls=request.parallel_tool_calls,
    )
