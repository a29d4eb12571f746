"""One model's answer from leave to usage: limits, breaker, first token, counting.

Raw models and turns share it; what is tried next when it fails is the turn's business.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Protocol

from portal.runtime.admission.passage import Passages
from portal.runtime.admission.stall import Stall
from portal.runtime.answers.reading import AnswerReader
from portal.runtime.backends.backend import Backend
from portal.runtime.ops import schema
from portal.runtime.routing.pace import Pace
from portal.shared.contract import Call
from portal.shared.errors import (
    BackendBroken,
    BackendError,
    BackendTimeout,
    BackendUnreachable,
)
from portal.shared.models import UsageRecord
from portal.shared.turns import (
    Finish,
    FinishReason,
    ModelEvent,
    ModelRequest,
    Reasoning,
    Text,
    ToolCall,
    Usage,
)

MODELS_KEPT = 1000
"""Most models remembered for beginning their answers within a thought."""


class UsageSink(Protocol):
    """Where answers are counted."""

    def record(self, record: UsageRecord) -> None:
        """Remember one answer, without waiting for anything."""
        ...


class Answering:
    """What every answer needs. `counted` is told the backend's own token counts of each.

    `used` is told which model has just answered.
    """

    def __init__(
        self,
        passages: Passages,
        usage: UsageSink,
        pace: Pace,
        settings: schema.Routing,
        *,
        counted: Callable[[Call, str, ModelRequest, Usage], None],
        used: Callable[[str, str], None],
    ) -> None:
        self.passages = passages
        self.usage = usage
        self._pace = pace
        self._settings = settings
        self._counted = counted
        self.used = used
        self._opened: set[str] = set()
        """Models whose template opens the thought, which only its end shows."""

    async def answer(
        self, call: Call, backend: Backend, request: ModelRequest, *, whole: bool, retry: bool
    ) -> AsyncGenerator[ModelEvent, None]:
        """Give a backend's events; an answer is counted exactly once, however it ends.

        Nothing is given before there is something to show, so that what fails until then can be
        tried elsewhere. Where the backend does not count itself, a Usage estimated from its
        pieces precedes Finish. `whole`: an answer without a visible word is a failure, as it is
        for people; otherwise it is passed on, and only held against the model. `retry`: a refused
        connection, over which nothing was sent, is tried again.
        """
        passage = await self.passages.enter(call, backend.name, request.model)
        tally = _Tally()
        reader = self._reader(backend, request)
        try:
            call.begin_wait()
            try:
                begun, opening = await self._begin(backend, request, retry=retry)
            finally:
                call.end_wait()
            async with contextlib.aclosing(begun) as source:
                if _is_silent(opening, request):
                    empty = _broken(backend, request, "gave an empty answer.")
                    if whole:
                        raise empty
                    passage.failed(empty)
                else:
                    passage.began()
                for event in opening:
                    for read in self._read(call, backend, request, tally, reader, event):
                        yield read
                # What follows comes at the backend's pace; of a stream, nobody asks any more.
                call.begin_wait()
                stall = Stall(self._settings.token_seconds, lambda: tally.events)
                try:
                    stall.waiting = asyncio.current_task()
                    async for event in source:
                        stall.waiting = None
                        for read in self._read(call, backend, request, tally, reader, event):
                            yield read
                        stall.waiting = asyncio.current_task()
                except asyncio.CancelledError:
                    if not stall.was_it():
                        raise
                    raise self._stalled(backend, request) from None
                finally:
                    stall.stop()
                    call.end_wait()
            for read in reader.end():
                yield read
            if whole and tally.only_thought:
                raise _broken(backend, request, "thought, and then gave no answer.")
            passage.succeeded()
            model, seconds = f"{backend.name}/{request.model}", time.perf_counter() - tally.began
            self._pace.record(model, tally.pieces, seconds)
            if reader.misplaced and len(self._opened) < MODELS_KEPT:
                self._opened.add(model)
            self.used(backend.name, request.model)
        except BackendError as error:
            passage.failed(error)
            raise
        finally:
            passage.close()
            if tally.usage is not None or tally.pieces:
                usage = tally.usage or Usage(0, tally.pieces, estimated=True)
                self.usage.record(usage_record(call, backend.name, request.model, usage))

    def _reader(self, backend: Backend, request: ModelRequest) -> AnswerReader:
        """Make what tells thoughts, calls and text apart; JSON that was asked for is no call."""
        offered = request.tools if request.tool_choice != "none" else ()
        return AnswerReader(
            () if request.response_format else offered,
            starts_in_thought=f"{backend.name}/{request.model}" in self._opened,
        )

    def _read(
        self,
        call: Call,
        backend: Backend,
        request: ModelRequest,
        tally: "_Tally",
        reader: AnswerReader,
        event: ModelEvent,
    ) -> Sequence[ModelEvent]:
        """Count an event and clean it; the one path that is paid for with every token."""
        tally.events += 1
        found = reader.feed(event)
        if type(event) is Text and len(found) == 1 and type(found[0]) is Text:
            tally.shown += 1
            return found
        if type(event) is Usage and not event.estimated:
            self._counted(call, backend.name, request, event)
        return [each for read in found for each in tally.take(read)]

    async def _begin(
        self, backend: Backend, request: ModelRequest, *, retry: bool
    ) -> tuple[AsyncGenerator[ModelEvent, None], list[ModelEvent]]:
        """Start an answer; give the events up to the first to show, and those to come."""
        tries = self._settings.connect_retries if retry else 0
        pause = self._settings.retry_seconds
        while True:
            source = backend.generate(request)
            try:
                return source, await self._opening(source, backend, request)
            except BackendUnreachable:
                if not tries:
                    raise
            except BaseException:
                await source.aclose()
                raise
            tries -= 1
            await asyncio.sleep(pause * (0.5 + random.random()))  # noqa: S311 — no secret
            pause *= 2

    def _stalled(self, backend: Backend, request: ModelRequest) -> BackendTimeout:
        return BackendTimeout(
            f"{backend.name}/{request.model} sent no token for {self._settings.token_seconds:g} s "
            "(routing.token_seconds).",
            backend=backend.name,
        )

    async def _opening(
        self, source: AsyncIterator[ModelEvent], backend: Backend, request: ModelRequest
    ) -> list[ModelEvent]:
        """Await the first thing to show, and what comes before it."""
        opening: list[ModelEvent] = []
        limit = self._settings.first_token_seconds
        try:
            async with asyncio.timeout(limit) as timeout:
                async for event in source:
                    opening.append(event)
                    if not isinstance(event, Usage):
                        break
        except TimeoutError as error:
            if not timeout.expired():
                raise
            raise BackendTimeout(
                f"{backend.name}/{request.model} gave no token within {limit:g} s "
                "(routing.first_token_seconds).",
                backend=backend.name,
            ) from error
        return opening


class _Tally:
    """What an answer was made of so far."""

    __slots__ = ("_reason", "began", "closing", "events", "shown", "thoughts", "usage")

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.events = 0
        """As the backend sent them."""
        self.closing = 0
        """Those of them that are no content."""
        self.shown = 0
        self.thoughts = 0
        self.usage: Usage | None = None
        self._reason: FinishReason | None = None

    @property
    def pieces(self) -> int:
        """Events of content, which is about a token each."""
        return self.events - self.closing

    @property
    def only_thought(self) -> bool:
        """Whether it ended by the model's own wish with nothing but thoughts."""
        return self._reason == "stop" and self.thoughts > 0 and not self.shown

    def take(self, event: ModelEvent) -> tuple[ModelEvent, ...]:
        """Take note of a cleaned event; give it, after the Usage that its backend left out."""
        match event:
            case Text() | ToolCall():
                self.shown += 1
            case Reasoning():
                self.thoughts += 1
            case Usage():
                self.closing += 1
                self.usage = event
            case Finish(reason):
                self.closing += 1
                self._reason = reason
                if self.usage is None:
                    self.usage = Usage(0, self.pieces, estimated=True)
                    return (self.usage, event)
        return (event,)


def _broken(backend: Backend, request: ModelRequest, what: str) -> BackendBroken:
    return BackendBroken(f"{backend.name}/{request.model} {what}", backend=backend.name)


def _is_silent(opening: list[ModelEvent], request: ModelRequest) -> bool:
    """Tell whether an answer ended before there was anything in it, by the model's own wish.

    Not so where the request left no room for one.
    """
    last = opening[-1] if opening else None
    if last is None or isinstance(last, Usage):
        return True
    return isinstance(last, Finish) and last.reason == "stop" and request.sampling.max_tokens != 1


def usage_record(call: Call, backend: str, model: str, usage: Usage) -> UsageRecord:
    """Say who used what, now."""
    return UsageRecord(
        time.time(),
        call.caller.user,
        call.caller.key,
        backend,
        model,
        usage.input_tokens,
        usage.output_tokens,
        usage.estimated,
    )
