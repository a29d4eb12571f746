"""Ollama's answers, whole or line by line, made from the events of a turn."""

import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import msgspec

from portal.shared.contract import Stream
from portal.shared.errors import (
    BackendBroken,
    BackendError,
    BackendTimeout,
    PortalError,
)
from portal.shared.turns import Error, Finish, Reasoning, Text, ToolCall, TurnEvent, Usage

NDJSON = "application/x-ndjson"
LONGEST_LINE = 16 * 1024 * 1024
TurnEvents = AsyncGenerator[TurnEvent, None]
Work = Literal["chat", "generate"]
encode = msgspec.json.Encoder().encode


class CallOut(msgspec.Struct):
    """A tool call that the model made, whole."""

    id: str
    function: dict[str, Any]
    """`index`, `name`, and `arguments` as an object."""


class AnswerMessage(msgspec.Struct, omit_defaults=True):
    """The answer, or a piece of it."""

    role: str
    content: str
    thinking: str = ""
    tool_calls: list[CallOut] = []


class Answer(msgspec.Struct):
    """A whole answer, or the last line of a streamed one; durations are in nanoseconds."""

    model: str
    created_at: str
    done_reason: str
    done: bool = True
    message: AnswerMessage | msgspec.UnsetType = msgspec.UNSET
    response: str | msgspec.UnsetType = msgspec.UNSET
    thinking: str | msgspec.UnsetType = msgspec.UNSET
    tool_calls: list[CallOut] | msgspec.UnsetType = msgspec.UNSET
    total_duration: int | msgspec.UnsetType = msgspec.UNSET
    load_duration: int | msgspec.UnsetType = msgspec.UNSET
    """0: other servers do not tell how long they loaded."""
    prompt_eval_count: int | msgspec.UnsetType = msgspec.UNSET
    prompt_eval_duration: int | msgspec.UnsetType = msgspec.UNSET
    """Until the first piece of the answer."""
    eval_count: int | msgspec.UnsetType = msgspec.UNSET
    eval_duration: int | msgspec.UnsetType = msgspec.UNSET


class Form(Protocol):
    """What chat and generate do differently."""

    def piece(self, text: str, thinking: str = "", calls: list[CallOut] | None = None) -> bytes:
        """Encode the fields of a piece, without braces."""
        ...

    def put(self, answer: Answer, text: str, thinking: str, calls: list[CallOut]) -> None:
        """Put the text of an answer where it belongs."""
        ...


class _Chat:
    def piece(self, text: str, thinking: str = "", calls: list[CallOut] | None = None) -> bytes:
        return b'"message":' + encode(AnswerMessage("assistant", text, thinking, calls or []))

    def put(self, answer: Answer, text: str, thinking: str, calls: list[CallOut]) -> None:
        answer.message = AnswerMessage("assistant", text, thinking, calls)


class _Generate:
    def piece(self, text: str, thinking: str = "", calls: list[CallOut] | None = None) -> bytes:
        fields: dict[str, Any] = {"response": text}
        if thinking:
            fields["thinking"] = thinking
        if calls:
            fields["tool_calls"] = calls
        return encode(fields)[1:-1]

    def put(self, answer: Answer, text: str, thinking: str, calls: list[CallOut]) -> None:
        answer.response = text
        if thinking:
            answer.thinking = thinking
        if calls:
            answer.tool_calls = calls


FORMS: dict[Work, Form] = {"chat": _Chat(), "generate": _Generate()}


class _Progress:
    """One answer on its way: its clock, its counts, and calls of which pieces have come."""

    def __init__(self) -> None:
        self._began = time.perf_counter_ns()
        self._first = 0
        self._calls: dict[int, tuple[str, str, list[str]]] = {}
        self.usage = Usage(0, 0)
        self.reason = "stop"

    def begin(self) -> None:
        """Note that a piece of the answer is there."""
        self._first = self._first or time.perf_counter_ns()

    def add(self, piece: ToolCall) -> None:
        """Take in a piece of a call: clients of Ollama are given calls whole."""
        _, _, arguments = self._calls.setdefault(piece.index, (piece.id, piece.name, []))
        arguments.append(piece.arguments)

    def calls(self) -> list[CallOut]:
        """Give the calls. Raises BackendBroken where arguments are no JSON object."""
        return [
            CallOut(
                call_id,
                {"index": index, "name": name, "arguments": _object(name, "".join(arguments))},
            )
            for index, (call_id, name, arguments) in sorted(self._calls.items())
        ]

    def end(self, answer: Answer) -> None:
        """Write the counts and durations into an answer."""
        now = time.perf_counter_ns()
        first = self._first or now
        answer.total_duration = now - self._began
        answer.load_duration = 0
        answer.prompt_eval_count = self.usage.input_tokens
        answer.prompt_eval_duration = first - self._began
        answer.eval_count = self.usage.output_tokens
        answer.eval_duration = now - first


async def gather(events: TurnEvents, model: str, work: Work) -> Answer:
    """Collect a whole answer. Raises what the events end with when that is an Error."""
    text: list[str] = []
    thinking: list[str] = []
    progress = _Progress()
    async with contextlib.aclosing(events):
        async for event in events:
            match event:
                case Text(piece):
                    progress.begin()
                    text.append(piece)
                case Reasoning(piece):
                    progress.begin()
                    thinking.append(piece)
                case ToolCall():
                    progress.begin()
                    progress.add(event)
                case Usage():
                    progress.usage = event
                case Finish(reason):
                    progress.reason = _reason(reason)
                case Error(code, message):
                    raise _failure(code, message)
    answer = Answer(model, now_text(), progress.reason)
    FORMS[work].put(answer, "".join(text), "".join(thinking), progress.calls())
    progress.end(answer)
    return answer


def streamed(events: TurnEvents, model: str, work: Work) -> Stream:
    """Stream an answer as Ollama does; a late failure is its last line."""
    return Stream(_lines(events, model, work), media_type=NDJSON, on_error=error_line)


async def _lines(events: TurnEvents, model: str, work: Work) -> AsyncIterator[bytes]:
    form, progress = FORMS[work], _Progress()
    head = b'{"model":' + encode(model) + b',"created_at":"'

    def line(fields: bytes) -> bytes:
        progress.begin()
        return head + now_text().encode() + b'",' + fields + b',"done":false}\n'

    async with contextlib.aclosing(events):
        async for event in events:
            match event:
                case Text(piece):
                    yield line(form.piece(piece))
                case Reasoning(piece):
                    yield line(form.piece("", piece))
                case ToolCall():
                    progress.begin()
                    progress.add(event)
                case Usage():
                    progress.usage = event
                case Finish(reason):
                    progress.reason = _reason(reason)
                case Error(_, message):
                    yield encode({"error": message}) + b"\n"
                    return
    calls = progress.calls()
    if calls:
        yield line(form.piece("", "", calls))
    last = Answer(model, now_text(), progress.reason)
    form.put(last, "", "", [])
    progress.end(last)
    yield encode(last) + b"\n"


def loaded(model: str, work: Work, *, over: bool) -> Answer:
    """Answer a request without a question, which Ollama takes as a wish to load or unload."""
    answer = Answer(model, now_text(), "unload" if over else "load")
    FORMS[work].put(answer, "", "", [])
    return answer


def error_line(error: Exception) -> bytes:
    """Encode the line that ends a stream which failed."""
    words = "Portal failed on this request; the log has the details."
    return encode({"error": error.message if isinstance(error, PortalError) else words}) + b"\n"


def relayed(result: Stream) -> Stream:
    """Let a relayed stream of lines end, where it breaks off, with a line that says so."""
    if result.media_type.startswith(NDJSON):
        result.items = WholeLines(result.items)
        result.on_error = error_line
    return result


class WholeLines:
    """Bytes that pass as they are, cut nowhere but between lines.

    So that a line about a failure never lands in the middle of another.
    """

    def __init__(self, items: AsyncIterator[bytes]) -> None:
        self._items = items
        self._held = b""

    def __aiter__(self) -> "WholeLines":
        return self

    async def __anext__(self) -> bytes:
        while True:
            try:
                data = await anext(self._items)
            except StopAsyncIteration:
                rest, self._held = self._held, b""
                if rest:
                    return rest
                raise
            if not self._held and data.endswith(b"\n"):
                return data
            data = self._held + data
            if len(data) > LONGEST_LINE:
                raise BackendBroken(f"The backend sent a line of more than {LONGEST_LINE} bytes.")
            end = data.rfind(b"\n") + 1
            self._held = data[end:]
            if end:
                return data[:end]

    async def aclose(self) -> None:
        """Close what the bytes come from."""
        close = getattr(self._items, "aclose", None)
        if close is not None:
            await close()


def now_text() -> str:
    """Write the time as Ollama does."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _reason(reason: str) -> str:
    """Give Ollama's word for an end: to it, a call of a tool is an ordinary one."""
    return "length" if reason == "length" else "stop"


def _object(name: str, text: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text) if text else {}
    except (msgspec.MsgspecError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BackendBroken(
            f"The model calls {name!r} with arguments that are no JSON object: {text[:80]!r}."
        )
    return found


def _failure(code: str, message: str) -> BackendError:
    """Make an error again of the event that told it."""
    return BackendTimeout(message) if code == BackendTimeout.code else BackendBroken(message)
