"""A backend's events, cleaned: thoughts out of the text, calls made as text into calls; pure.

But for the ids of calls, which are random.
"""

import uuid
from collections.abc import Sequence

import msgspec

from portal.runtime.answers.pieces import LONGEST_CALL, Call, Kind, Piece
from portal.runtime.answers.scanner import Scanner, find_sign
from portal.runtime.answers.written_calls import same_call
from portal.shared.turns import (
    Finish,
    ModelEvent,
    Reasoning,
    Text,
    ToolCall,
    ToolSpec,
)


class AnswerReader:
    """Reads one answer. `tools` are those whose calls may be recovered: none for raw JSON.

    What has been given cannot be taken back. Where a template opens the thought itself, the
    answer begins inside it, and only the closing tag says so. With `starts_in_thought`, for
    models known to do that, all before it is Reasoning. Otherwise it has been given as Text by
    then: the tag is dropped, and `misplaced` tells how many characters of the Text given were a
    thought, so that whoever gathers the whole can move them, and ask better the next time.

    A call inside a thought stays a thought. Text that looks like a call and is none is given
    unchanged, after at most 64 KiB of it.
    """

    def __init__(self, tools: Sequence[ToolSpec], *, starts_in_thought: bool = False) -> None:
        self._scanner = Scanner(tools, starts_in_thought=starts_in_thought)
        self._native: list[str] = []
        self._native_length = 0
        self._echo: list[str] = []
        self._echo_length = 0
        self._calls: dict[int, list[str]] = {}
        """Native calls by the index that they are given with: name and pieces of arguments."""
        self._indexes: dict[int, int] = {}
        self._recovered: set[int] = set()

    @property
    def misplaced(self) -> int:
        """Characters of the Text given so far that belong to a thought, counted from the first."""
        return self._scanner.misplaced

    def feed(self, event: ModelEvent) -> Sequence[ModelEvent]:
        """Take a backend's next event; give what is certain by now.

        Text that is held back does not stop other events, but for Finish, before which it comes.
        """
        if type(event) is Text:
            text, scanner = event.text, self._scanner
            if find_sign(text) is None and text:
                # The path of nearly every token.
                flow = scanner.flow
                if flow is Kind.THOUGHT and not self._native:
                    scanner.previous = text
                    return (Reasoning(text),)
                if flow is Kind.TEXT and "\n" not in text:
                    scanner.given += len(text)
                    scanner.previous = text
                    return (event,)
                if scanner.passes(text):
                    return (event,)
            return self._events(scanner.feed(text))
        match event:
            case Reasoning(text):
                if not self._native:
                    self._scanner.thinks_elsewhere()
                if self._native_length < LONGEST_CALL:
                    self._native.append(text)
                    self._native_length += len(text)
            case ToolCall():
                return (self._noted(event),)
            case Finish(reason):
                events = self._close()
                if reason == "stop" and self._recovered:
                    event = msgspec.structs.replace(event, reason="tool_calls")
                events.append(event)
                return events
        return (event,)

    def end(self) -> Sequence[ModelEvent]:
        """Give what is left where no Finish came."""
        return self._close()

    def _close(self) -> list[ModelEvent]:
        events = self._events(self._scanner.end())
        self._tell_echo(events)
        return events

    def _events(self, pieces: Sequence[Piece]) -> list[ModelEvent]:
        events: list[ModelEvent] = []
        for kind, source, calls in pieces:
            if kind is Kind.THOUGHT and self._native:
                self._echo.append(source)
                self._echo_length += len(source)
                if self._echo_length < LONGEST_CALL:
                    continue
            self._tell_echo(events)
            if kind is Kind.TEXT:
                events.append(Text(source))
            elif kind is Kind.THOUGHT and not self._native:
                events.append(Reasoning(source))
            for call in calls:
                self._recover(call, events)
        return events

    def _tell_echo(self, events: list[ModelEvent]) -> None:
        """Give a thought from the text, unless the backend told it by its own way as well."""
        if self._echo:
            thought = "".join(self._echo)
            self._echo.clear()
            self._echo_length = 0
            if thought.strip() not in "".join(self._native):
                events.append(Reasoning(thought))

    def _recover(self, call: Call, events: list[ModelEvent]) -> None:
        """Give a call from the text, unless the backend told it by its own way as well."""
        if not any(same_call(call, *native) for native in self._calls.values()):
            index = self._free_index()
            self._recovered.add(index)
            events.append(ToolCall(index, f"call_{uuid.uuid4().hex[:24]}", *call))

    def _noted(self, call: ToolCall) -> ToolCall:
        """Remember a native call; it keeps its index, unless a recovered one has taken that."""
        index = self._indexes.get(call.index)
        if index is None:
            index = self._free_index() if call.index in self._recovered else call.index
            self._indexes[call.index] = index
        told = self._calls.setdefault(index, [call.name])
        told.append(call.arguments)
        return call if index == call.index else msgspec.structs.replace(call, index=index)

    def _free_index(self) -> int:
        return 1 + max(self._recovered | self._calls.keys(), default=-1)
