"""One request and its answer, as the caller sees them: what to wait for, read and close.

Whatever ends an exchange (its last byte, an error, a limit, a cancelled reader) does so
synchronously, so no cancellation can interrupt the clean-up. The connection it runs on
(`connection.py`) drives it; both live in the event loop's thread.
"""

import asyncio
import math
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import TYPE_CHECKING

import httpx

from portal.runtime.backends.limits import Limits

if TYPE_CHECKING:
    from portal.runtime.backends.connection import Connection

HIGH_WATER = 256 * 1024
"""Bytes of an unread body above which reading from the socket pauses."""
WRITE_SLICE = 64 * 1024
"""Bytes of a request's body written between two looks at the socket's buffer."""

Body = bytes | AsyncIterable[bytes]

# How far the answer is.
WAITING, HEAD, BODY, DONE = range(4)
# How far the request is.
SENT, SENDING, ABANDONED = range(3)


class Exchange:
    """A request under way and its answer; satisfies `portal.runtime.backends.backend.Reply`."""

    __slots__ = (
        "_chunks",
        "_connection",
        "_limits",
        "_started",
        "_waiter",
        "error",
        "head_only",
        "headers",
        "held",
        "last",
        "phase",
        "status",
        "translate",
        "upload",
        "vanished",
    )

    def __init__(
        self, connection: "Connection", limits: Limits, started: float, *, head_only: bool
    ) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.translate: Callable[[httpx.HTTPError], Exception] | None = None
        """Turns an error met while the body is read into the one to raise."""
        self.head_only = head_only
        self.phase = WAITING
        self.upload = SENT
        self.last = started
        """Loop time of the last advance in either direction."""
        self.held = 0
        """Bytes of the body that wait for the reader."""
        self.error: httpx.HTTPError | None = None
        self.vanished = False
        """Whether the connection ended before any byte of an answer."""
        self._limits = limits
        self._started = started
        self._chunks: list[bytes] = []
        self._connection: Connection | None = connection
        self._waiter: asyncio.Future[None] | None = None

    async def perform(self, head: bytes, body: Body) -> None:
        """Send the request and wait for the answer's head; httpx exceptions on failure."""
        connection = self._connection
        assert connection is not None
        if type(body) is bytes and len(body) <= WRITE_SLICE:
            connection.write(head + body)
        else:
            self.upload = SENDING
            connection.write(head)
            try:
                await self._send(connection, body)
            except BaseException:
                self.close()
                raise
            self.last = connection.loop.time()
        if self._connection is not None:
            connection.watch(self)
        while self.phase < BODY and self.error is None:
            await self._wait()
        if self.error is not None:
            raise self.error

    async def _send(self, connection: "Connection", body: Body) -> None:
        connection.watch(self)
        if isinstance(body, bytes):
            view = memoryview(body)
            for start in range(0, len(view), WRITE_SLICE):
                if not await self._put(connection, view[start : start + WRITE_SLICE]):
                    return
        else:
            async for piece in body:
                if not await self._put(connection, piece):
                    return
        self.upload = SENT

    async def _put(self, connection: "Connection", piece: bytes | memoryview) -> bool:
        """Write one piece and wait until the socket has room; tell whether to go on."""
        if not self._answered_early():
            connection.write(piece)
            while connection.writing_paused and not self._answered_early():
                await self._wait()
        if self._answered_early():
            self.upload = ABANDONED
            return False
        return True

    def _answered_early(self) -> bool:
        """Tell whether the rest of the request's body is of no use any more."""
        return self.error is not None or self.phase == DONE or self.status >= 300

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """Return what has arrived since the last call, in one piece."""
        chunks = self._chunks
        while not chunks:
            if self.error is not None:
                self._raise(self.error)
            if self.phase == DONE:
                raise StopAsyncIteration
            # As `_wait`, without a call to go through with each token.
            waiter = self._new_waiter()
            if waiter is not None:
                try:
                    await waiter
                except BaseException:
                    self.close()
                    raise
                finally:
                    self._waiter = None
        chunk = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        if self.held > HIGH_WATER and self._connection is not None:
            self._connection.resume(self)
        self.held = 0
        return chunk

    async def read(self, limit: int) -> bytes:
        """Read the rest; httpx.RemoteProtocolError, and a closed connection, past `limit` bytes."""
        if self.phase == DONE and self.error is None and self.held <= limit:
            chunks, self._chunks = self._chunks, []
            self.held = 0
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        parts: list[bytes] = []
        size = 0
        async for chunk in self:
            size += len(chunk)
            if size > limit:
                self.close()
                self._raise(
                    httpx.RemoteProtocolError(
                        f"the answer is longer than the {limit} bytes that are read here at most"
                    )
                )
            parts.append(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def aclose(self) -> None:
        """Stop reading. Never waits; a connection with unread bytes is closed at once."""
        self.close()

    def close(self) -> None:
        """Do what `aclose` does, outside a coroutine."""
        if self.error is None and (self.phase != DONE or self._chunks):
            self.error = httpx.ReadError("the answer was closed on this side before its end")
        self._chunks.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        self.wake()

    def _raise(self, error: httpx.HTTPError) -> None:
        if self.translate is None:
            raise error
        raise self.translate(error) from error

    async def _wait(self) -> None:
        """Wait for the connection's next news; a cancelled wait closes the connection."""
        waiter = self._new_waiter()
        if waiter is None:
            return
        try:
            await waiter
        except BaseException:
            self.close()
            raise
        finally:
            self._waiter = None

    def _new_waiter(self) -> asyncio.Future[None] | None:
        """Make what `wake` sets; None without a connection, from which no news would come."""
        connection = self._connection
        if connection is None:
            return None
        if self._waiter is not None:
            raise RuntimeError("this answer is already being read by another task")
        self._waiter = connection.loop.create_future()
        return self._waiter

    # What follows is for the connection.

    def add(self, chunk: bytes) -> None:
        """Keep a piece of the body for the reader."""
        self._chunks.append(chunk)
        self.held += len(chunk)

    def detach(self, error: httpx.HTTPError | None) -> None:
        """Part from the connection: complete, or failed with `error`."""
        self._connection = None
        if self.error is None:
            self.error = error

    def wake(self) -> None:
        """Let the waiting task look again."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def deadline(self, *, reading_paused: bool) -> float:
        """Return the loop time at which the next limit is crossed if nothing advances."""
        limits = self._limits
        if self.upload == SENDING:
            at = self.last + limits.stall
        elif self.phase == WAITING:
            at = self.last + limits.first_byte
        elif reading_paused:
            at = math.inf
        else:
            at = self.last + limits.stall
        return min(at, self._started + limits.total)

    def timeout(self, now: float) -> httpx.TimeoutException:
        """Name the phase and the limit that was crossed at `now`."""
        kind: type[httpx.TimeoutException] = httpx.ReadTimeout
        name = "stall"
        if self.upload == SENDING:
            kind, doing = httpx.WriteTimeout, "sending the request's body"
        elif self.phase == WAITING:
            name, doing = "first_byte", "waiting for the answer's first byte"
        else:
            doing = f"reading the answer's {'head' if self.phase == HEAD else 'body'}"
        if now >= self._started + self._limits.total:
            name = "total"
        return kind(self._limits.crossed(name, doing))
