"""Plays one answer as its script says: paced, stepped, stalled, cut, garbled.

Knows tokens and records, not what they look like in any API.
"""

import asyncio
from collections import deque
from collections.abc import Callable

import msgspec

from tests.fakes.script import Script
from tests.fakes.serving import Exchange, phrase

JSON_TYPE = "application/json"
SIGNS = {"text/event-stream": b": ping\n\n"}
"""What says nothing in a stream of a type, and keeps it alive; in others an empty line does."""


class Answer(msgspec.Struct, frozen=True):
    """A reply in one API's form; streamed piece by piece, or whole."""

    content_type: str
    pieces: tuple[bytes, ...]
    """Streamed: one record a token. Whole: as many as it has tokens, never sent."""
    garbage: bytes
    error: bytes
    opening: bytes = b""
    closing: bytes = b""
    whole: bytes | None = None
    """The body of an answer that is not streamed."""
    finished: Callable[[], None] | None = None
    """Called before the end is sent, unless the script ends the answer before."""


class Reply(msgspec.Struct, frozen=True):
    """An answer without a model's work: a list, a refusal."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()


class Record(msgspec.Struct):
    """One request and the fate of its answer."""

    id: int
    connection: int
    method: str
    path: str
    query: dict[str, str]
    headers: list[tuple[str, str]]
    body: bytes
    tokens_sent: int = 0
    state: str = "open"
    """`open`, `finished`, `client_closed` or `cut`."""
    closed_after: int | None = None
    """Tokens that had been sent when the client left; None if it did not."""
    sent: bytes = b""
    """The answer's body so far."""


class Gate:
    """Lets tokens out one by one; steps that nobody waits for are kept."""

    def __init__(self) -> None:
        self._kept = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def step(self, count: int) -> None:
        """Let out `count` tokens, the longest waiting first."""
        for _ in range(count):
            while self._waiting:
                future = self._waiting.popleft()
                if not future.done():
                    future.set_result(None)
                    break
            else:
                self._kept += 1

    def clear(self) -> None:
        """Take back the steps that nobody used."""
        self._kept = 0

    async def passed(self) -> None:
        """Wait for a step of one's own."""
        if self._kept:
            self._kept -= 1
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.step(1)
            raise


class Performance:
    """One exchange being answered under one script, written down as it goes."""

    def __init__(self, exchange: Exchange, script: Script, record: Record, gate: Gate) -> None:
        self._exchange = exchange
        self._script = script
        self._record = record
        self._gate = gate
        exchange.cut_at = script.cut_after_bytes

    async def play(self, answer: Answer | Reply) -> None:
        """Give the answer in its form and settle what became of it."""
        if isinstance(answer, Reply):
            await self._reply(answer)
        elif answer.whole is None:
            await self._stream(answer)
        else:
            await self._whole(answer, answer.whole)
        self.settle()

    async def curtain(self) -> None:
        """Wait as long as the script has the head wait, for ever if it hangs."""
        if self._script.head_delay_ms:
            await asyncio.sleep(self._script.head_delay_ms / 1000)
        if self._script.hang:
            await forever()

    def settle(self) -> None:
        """Note how the answer ended, if that is not known yet."""
        if self._record.state == "open":
            at, sent = self._exchange.cut_at, self._exchange.sent
            self._record.state = "cut" if at is not None and sent >= at else "finished"

    async def _reply(self, reply: Reply) -> None:
        body = b"" if self._exchange.method == "HEAD" else reply.body
        headers = self._head(reply.content_type, reply.headers)
        self._exchange.start(reply.status, headers, length=len(body))
        await self._send(body)
        self._exchange.end(drop=self._script.drop)

    async def _whole(self, answer: Answer, body: bytes) -> None:
        script, count = self._script, len(answer.pieces)
        for index in range(count + 1):
            if script.cut_after == index:
                self._exchange.start(200, self._head(answer.content_type), length=len(body))
                await self._send(body[: len(body) // 2])
                self._cut()
                return
            if script.error_after == index:
                await self._reply(Reply(500, answer.error))
                return
            if script.garbage_after == index:
                body = answer.garbage
            await self._pace(index, count, answer.content_type)
            self._record.tokens_sent = min(index + 1, count)
        if answer.finished is not None:
            answer.finished()
        self._exchange.start(200, self._head(answer.content_type), length=len(body))
        await self._send(body)
        self._exchange.end(drop=script.drop)

    async def _stream(self, answer: Answer) -> None:
        script, count = self._script, len(answer.pieces)
        if not script.hold_head:
            await self._begin(answer)
        for index in range(count + 1):
            if script.cut_after == index:
                await self._begin(answer)
                self._cut()
                return
            if script.garbage_after == index:
                await self._begin(answer)
                await self._send(answer.garbage)
            if script.error_after == index:
                await self._begin(answer)
                await self._send(answer.error)
                self._exchange.end(drop=script.drop)
                return
            await self._pace(index, count, answer.content_type)
            await self._begin(answer)
            if index < count:
                self._record.tokens_sent += 1
                await self._send(answer.pieces[index])
        if answer.finished is not None:
            answer.finished()
        await self._send(answer.closing)
        self._exchange.end(drop=script.drop)

    async def _begin(self, answer: Answer) -> None:
        if not self._exchange.started:
            self._exchange.start(200, self._head(answer.content_type))
            await self._send(answer.opening)

    async def _stall(self, content_type: str) -> None:
        """Send nothing more, or nothing but signs of life where the head went out."""
        while self._script.ping_ms and self._exchange.started:
            await asyncio.sleep(self._script.ping_ms / 1000)
            await self._exchange.write(SIGNS.get(content_type.partition(";")[0], b"\n"))
        await forever()

    async def _pace(self, index: int, count: int, content_type: str) -> None:
        """Wait as long as the script has token `index` of `count` wait."""
        script = self._script
        if script.stall_after == index:
            await self._stall(content_type)
        if index == count:
            return
        if script.interval_ms:
            await asyncio.sleep(script.interval_ms / 1000)
        if script.manual:
            await self._gate.passed()

    async def _send(self, data: bytes) -> None:
        before = self._exchange.sent
        try:
            await self._exchange.write(data)
        finally:
            self._record.sent += data[: self._exchange.sent - before]
            at = self._exchange.cut_at
            if at is not None and self._exchange.sent >= at:
                # Now, as the end of its connection will end this answer's task.
                self._record.state = "cut"

    def _cut(self) -> None:
        self._record.state = "cut"
        self._exchange.cut(reset=self._script.reset)

    def _head(
        self, content_type: str, more: tuple[tuple[str, str], ...] = ()
    ) -> list[tuple[str, str]]:
        changed = self._script.content_type or content_type
        return [("Content-Type", changed), *more, *self._script.headers.items()]


def prebuild(answer: Answer | Reply) -> bytes:
    """Put a whole HTTP answer into one piece of bytes."""
    status = 200
    if isinstance(answer, Reply):
        body, status = answer.body, answer.status
    elif answer.whole is None:
        body = b"".join((answer.opening, *answer.pieces, answer.closing))
    else:
        body = answer.whole
    lines = (
        f"HTTP/1.1 {status} {phrase(status)}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


async def forever() -> None:
    """Wait until cancelled, which is when the client leaves."""
    await asyncio.Event().wait()
