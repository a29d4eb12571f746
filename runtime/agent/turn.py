"""The turn: one question answered for a workspace, by the best model that can.

All workspace traffic goes through here. Falls back to the next candidate as long as nothing has
been shown; afterwards a failure is told, never papered over with a second answer.
"""

import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import msgspec

from portal.runtime.ops import schema
from portal.runtime.routing.candidates import Candidate, rank
from portal.runtime.routing.discovery import Discovery
from portal.runtime.routing.metering import metered
from portal.runtime.routing.registry import Registry
from portal.shared.contract import Call
from portal.shared.errors import (
    BackendBroken,
    BackendError,
    BackendRefused,
    InvalidRequest,
    NoBackend,
)
from portal.shared.messages import build_messages
from portal.shared.models import Target
from portal.shared.ports import UsageLog
from portal.shared.turns import (
    Error,
    Finish,
    ModelEvent,
    ModelRequest,
    Notice,
    TurnEvent,
    TurnRequest,
    Usage,
)

log = logging.getLogger("portal.turn")

NOT_RETRIED = frozenset({400, 409, 413, 422})
"""Refusals that speak of the request itself: another model would refuse it as well."""


class TurnRunner:
    """Implements the Turns port."""

    def __init__(self, registry: Registry, discovery: Discovery, usage: UsageLog) -> None:
        self._registry = registry
        self._discovery = discovery
        self._usage = usage

    async def run(self, call: Call, request: TurnRequest) -> AsyncGenerator[TurnEvent, None]:
        if not request.messages:
            raise InvalidRequest("There are no messages; send at least one.", param="messages")
        target = self._registry.resolve(request.workspace)
        workspace = self._registry.settings.get(target.name, schema.Workspace())
        candidates = await self._candidates(target, workspace)
        model_request = _model_request(request, workspace)
        failures: list[str] = []
        for candidate in candidates:
            backend = self._registry.backends[candidate.backend]
            asked = msgspec.structs.replace(model_request, model=candidate.model)
            events = metered(
                call, self._usage, candidate.backend, candidate.model, backend.generate(asked)
            )
            async with contextlib.aclosing(events) as source:
                try:
                    opening = await _opening(source, candidate, asked)
                except BackendError as error:
                    if isinstance(error, BackendRefused) and error.status in NOT_RETRIED:
                        raise
                    if candidate is candidates[-1]:
                        raise _with_history(error, failures) from error
                    log.warning("%s failed, trying the next: %s", candidate.name, error.message)
                    failures.append(f"{candidate.name}: {error.message}")
                    continue
                call.route = _route(target, candidate, failed=len(failures))
                call.dropped += backend.drops(asked)
                yield Notice("route", call.route)
                for failure in failures:
                    yield Notice("fallback", failure)
                try:
                    for event in opening:
                        yield _signed(event, candidate)
                    async for event in source:
                        yield _signed(event, candidate)
                except BackendError as error:
                    log.warning("%s broke within an answer: %s", candidate.name, error.message)
                    yield Error(error.code, error.message)
                return

    async def _candidates(self, target: Target, workspace: schema.Workspace) -> Sequence[Candidate]:
        if target.workspace is None:
            return [Candidate(target.backend, target.model, "named")]
        await self._discovery.first_round()
        registry = self._registry
        found = rank(
            workspace,
            registry.models(),
            registry.resolve,
            lambda name: registry.backends[name].available,
        )
        if not found:
            raise NoBackend(
                "No model can answer now: no backend is live, and there is no embedded model. "
                "Start Ollama or LM Studio, or install the embedded model; `portal doctor` tells "
                "what is missing."
            )
        return found


async def _opening(
    source: AsyncIterator[ModelEvent], candidate: Candidate, request: ModelRequest
) -> list[ModelEvent]:
    """Await the first thing to show; an answer that stops without any is a failure.

    Not so where the request left no room for one, or where something else than the model's own
    wish ended it.
    """
    opening: list[ModelEvent] = []
    async for event in source:
        opening.append(event)
        if not isinstance(event, Usage):
            break
    last = opening[-1] if opening else None
    silent = isinstance(last, Finish) and last.reason == "stop" and request.sampling.max_tokens != 1
    if last is None or isinstance(last, Usage) or silent:
        raise BackendBroken(f"{candidate.name} gave an empty answer.", backend=candidate.backend)
    return opening


def _signed(event: ModelEvent, candidate: Candidate) -> TurnEvent:
    """Let the last event of an answer say who made it."""
    if isinstance(event, Finish):
        return Finish(event.reason, candidate.backend, candidate.model)
    return event


def _route(target: Target, candidate: Candidate, *, failed: int) -> str:
    workspace = "-" if target.workspace is None else target.workspace.id
    reason = f"fallback after {failed} failed" if failed else candidate.reason
    return f"{workspace};{candidate.backend};{candidate.model};{reason}"


def _with_history(error: BackendError, failures: Sequence[str]) -> BackendError:
    """Tell of the earlier failures too: the last candidate is seldom the one that matters."""
    if failures:
        error.message += " Before it failed " + "; ".join(failures)
    return error


def _model_request(request: TurnRequest, workspace: schema.Workspace) -> ModelRequest:
    sampling = request.sampling
    if sampling.temperature is None or sampling.max_tokens is None:
        sampling = msgspec.structs.replace(
            sampling,
            temperature=(
                workspace.temperature if sampling.temperature is None else sampling.temperature
            ),
            max_tokens=(
                workspace.max_tokens if sampling.max_tokens is None else sampling.max_tokens
            ),
        )
    return ModelRequest(
        model="",
        messages=tuple(build_messages(system_prompt=workspace.system, messages=request.messages)),
        sampling=sampling,
        tools=request.tools,
        tool_choice=request.tool_choice,
        response_format=request.response_format,
        reasoning_effort=request.reasoning_effort,
        parallel_tool_calls=request.parallel_tool_calls,
    )
