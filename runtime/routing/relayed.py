"""What relayed bytes say about themselves: their usage, and whether there is an answer in them.

Pure but for `RelayedStream`, through which the bytes pass unchanged.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from portal.runtime.admission.stall import Stall
from portal.runtime.backends.backend import Reply
from portal.shared.errors import BackendBroken, BackendError, BackendTimeout
from portal.shared.turns import Usage

TAIL = 8 * 1024
"""Bytes of a stream's end that are kept to read its usage from."""
SHORT = 4
"""Events up to which a stream may be without any text."""
NO_ANSWER = "it is not the JSON of an answer"
CUT_SHORT = "it ended in the middle"


class _OpenAIUsage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Text(msgspec.Struct):
    content: Any = None
    reasoning_content: Any = None
    tool_calls: Any = None


class _Choice(msgspec.Struct):
    finish_reason: str | None = None
    message: _Text | None = None
    delta: _Text | None = None
    text: Any = None


class _Answer(msgspec.Struct):
    """Both dialects at once: their names do not meet."""

    error: Any = None
    usage: _OpenAIUsage | None = None
    choices: list[_Choice] = []
    done: bool = False
    done_reason: str = ""
    message: _Text | None = None
    response: Any = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None


_decode = msgspec.json.Decoder(_Answer).decode


class Verdict(msgspec.Struct, frozen=True):
    """What an answer amounted to. `fault` is empty when it was one."""

    usage: Usage
    fault: str = ""
    whole: bool = True
    """Whether it came to its end; what the client did not wait for is nobody's fault."""


class RelayedStream:
    """A backend's bytes on their way to the client, with an eye on the usage at their end.

    `ended` is called once, with the error when there was one. Where it is `judged`, a stream that
    merely stops raises BackendBroken at its end. A server that sends nothing but
    comments for `token_seconds`, or for `first_seconds` before its first event, has stalled,
    whatever its connection looks like.
    """

    def __init__(
        self,
        reply: Reply,
        ended: Callable[[Verdict | None, BackendError | None], None],
        *,
        token_seconds: float,
        first_seconds: float,
        judged: bool = True,
    ) -> None:
        self._reply = reply
        self._judged = judged
        self._chunks = aiter(reply)
        self._ended = ended
        self._token_seconds = token_seconds
        self._first_seconds = first_seconds
        self._stall: Stall | None = None
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._events = 0
        self._error: BackendError | None = None
        self._found: Verdict | None = None
        self._whole = False
        self._closed = False

    def __aiter__(self) -> "RelayedStream":
        return self

    async def __anext__(self) -> bytes:
        stall = self._stall or self._watch()
        stall.waiting = asyncio.current_task()
        try:
            data = await anext(self._chunks)
        except StopAsyncIteration:
            self._whole = True
            if self._judged and self._verdict().fault == CUT_SHORT:
                # Its connection ended in good order, so nothing else would tell the client.
                self._error = BackendBroken("The backend ended its stream in the middle.")
                raise self._error from None
            raise
        except BackendError as error:
            self._error = error
            raise
        except asyncio.CancelledError:
            if not stall.was_it():
                raise
            self._error = self._stalled()
            raise self._error from None
        finally:
            stall.waiting = None
        if data.startswith(b":") and b"data:" not in data:
            return data
        self._events += data.count(b"data:") or data.count(b"\n")
        self._tail.append(data)
        self._tail_size += len(data)
        while self._tail_size - len(self._tail[0]) > TAIL:
            self._tail_size -= len(self._tail.popleft())
        return data

    def _watch(self) -> Stall:
        self._stall = Stall(self._token_seconds, lambda: self._events, first=self._first_seconds)
        return self._stall

    def _stalled(self) -> BackendTimeout:
        seconds, name = self._first_seconds, "first_token_seconds"
        if self._events:
            seconds, name = self._token_seconds, "token_seconds"
        return BackendTimeout(f"The backend sent no token for {seconds:g} s (routing.{name}).")

    async def aclose(self) -> None:
        """Close the backend's connection, at once when it is not at its end; tell how it went."""
        if self._stall is not None:
            self._stall.stop()
        try:
            await self._reply.aclose()
        finally:
            # Whatever interrupts the close, the place among those that run is given back.
            self._tell()

    def _tell(self) -> None:
        if self._closed:
            return
        self._closed = True
        verdict = None
        if self._events or self._whole:
            verdict = self._verdict()
            if not self._whole:
                verdict = Verdict(verdict.usage, whole=False)
        self._ended(verdict, self._error)

    def _verdict(self) -> Verdict:
        if self._found is None or not self._whole:
            self._found = judge_stream(b"".join(self._tail), self._events)
        return self._found


class LateStream:
    """A relayed stream that has yet to begin.

    A class, since a generator that was never started runs no clean-up when it is closed.
    """

    def __init__(
        self, begin: Callable[[], Awaitable[RelayedStream]], give_up: Callable[[], None]
    ) -> None:
        self._begin = begin
        self._give_up = give_up
        self._items: RelayedStream | None = None

    def __aiter__(self) -> "LateStream":
        return self

    async def __anext__(self) -> bytes:
        if self._items is None:
            self._items = await self._begin()
        return await anext(self._items)

    async def aclose(self) -> None:
        """Close what has begun, or give up waiting for it."""
        if self._items is None:
            self._give_up()
        else:
            await self._items.aclose()


def judge(answer: bytes) -> Verdict:
    """Judge a whole answer; its usage is estimated from its length where it has none."""
    guess = Usage(0, len(answer) // 4, estimated=True)
    found = _read(answer)
    if found is None:
        # An answer in another shape than expected is passed on, and is one all the same.
        if _is_object(answer):
            return Verdict(guess)
        return Verdict(Usage(0, 0, estimated=True), NO_ANSWER)
    usage = _usage(found)
    fault = ""
    if _has_failed(found):
        fault = "it is an error"
    elif _is_silent([found]) and not (usage and usage.output_tokens):
        fault = "it is empty"
    return Verdict(usage or guess, fault)


def judge_stream(tail: bytes, events: int) -> Verdict:
    """Judge a stream by its end: the last bytes of it, and how many events it had."""
    lines = [line.removeprefix(b"data:").strip() for line in tail.splitlines()]
    done = b"[DONE]" in lines
    found = [answer for line in lines[-2 * SHORT - 4 :] if (answer := _read(line)) is not None]
    usage = next((u for answer in reversed(found) if (u := _usage(answer)) is not None), None)
    fault = ""
    if any(_has_failed(answer) for answer in found):
        fault = "it ended with an error"
    elif not done and not any(_has_ended(answer) for answer in found):
        # Events in another shape than expected are passed on, as whole answers are.
        fault = CUT_SHORT if found or not any(map(_is_object, lines[-SHORT:])) else ""
    elif events <= SHORT and _is_silent(found) and not (usage and usage.output_tokens):
        fault = "it is empty"
    return Verdict(usage or Usage(0, events, estimated=True), fault)


def _read(data: bytes) -> _Answer | None:
    # Some servers keep a connection alive with white space before the answer.
    if not data.lstrip().startswith(b"{"):
        return None
    try:
        return _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _is_object(data: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(data), dict)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def _has_failed(answer: _Answer) -> bool:
    """Tell whether it is an error that the server does not put down to the request."""
    error = answer.error
    code = error.get("code") if isinstance(error, dict) else None
    return bool(error) and not (isinstance(code, int) and 400 <= code < 500 and code != 408)


def _usage(answer: _Answer) -> Usage | None:
    if answer.usage is not None:
        return Usage(answer.usage.prompt_tokens, answer.usage.completion_tokens)
    if answer.eval_count is not None:
        return Usage(answer.prompt_eval_count or 0, answer.eval_count)
    return None


def _has_ended(answer: _Answer) -> bool:
    return answer.done or any(choice.finish_reason for choice in answer.choices)


def _is_silent(answers: list[_Answer]) -> bool:
    """Tell whether there was a choice, ended by the model's own wish, and nothing in it."""
    ended = False
    for answer in answers:
        ended = ended or answer.done_reason == "stop"
        said = [answer.message, answer.response]
        for choice in answer.choices:
            ended = ended or choice.finish_reason == "stop"
            said += [choice.message, choice.delta, choice.text]
        for each in said:
            if isinstance(each, _Text):
                if each.content or each.reasoning_content or each.tool_calls:
                    return False
            elif each:
                return False
    return ended
