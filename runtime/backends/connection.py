"""One socket to a backend: what arrives goes to the parser, what happens to the exchange.

Owns the timer, back-pressure and the closing of the socket. Does not own how connections are
shared: `connections.py` hands one out and is told when it is free again or gone.
"""

import asyncio
import math
from typing import Protocol, cast

import httpx

from portal.runtime.backends.exchange import DONE, HIGH_WATER, SENDING, SENT, Exchange
from portal.runtime.backends.http1 import AnswerParser
from portal.runtime.backends.limits import Limits

WRITE_HIGH_WATER = 64 * 1024
"""Unsent bytes of a request above which writing pauses."""


class Owner(Protocol):
    """What a connection reports to."""

    def release(self, connection: "Connection | None") -> None:
        """Take back the slot of an ended exchange; None: its connection is gone."""
        ...

    def forget(self, connection: "Connection") -> None:
        """Drop a connection that has been closed."""
        ...


class Connection(asyncio.Protocol):
    """One socket, kept between exchanges; `closed` once it can carry no further one."""

    __slots__ = (
        "_exchange",
        "_owner",
        "_parser",
        "_reading_paused",
        "_timer",
        "_timer_at",
        "_transport",
        "_unsent",
        "closed",
        "idle_since",
        "loop",
        "used",
        "writing_paused",
    )

    _transport: asyncio.Transport

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.closed = False
        self.used = False
        """Whether an exchange has run on it."""
        self.idle_since = 0.0
        self.writing_paused = False
        self._owner = owner
        self._exchange: Exchange | None = None
        self._parser = AnswerParser()
        # One timer outlives many exchanges: it is moved only when a deadline comes closer.
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._reading_paused = False
        self._unsent = 0

    # For the owner and the exchange.

    def begin(self, limits: Limits, started: float, *, head_only: bool) -> Exchange:
        """Start an exchange on this free connection; `started` is the loop time of the call."""
        exchange = Exchange(self, limits, started, head_only=head_only)
        exchange.last = self.loop.time()
        self._exchange = exchange
        self._parser.begin(exchange)
        self.used = True
        return exchange

    def write(self, data: bytes | memoryview) -> None:
        """Write, or buffer; `writing_paused` tells that the buffer is full."""
        self._transport.write(data)

    def watch(self, exchange: Exchange) -> None:
        """Have the exchange's limits checked no later than its next deadline."""
        at = exchange.deadline(reading_paused=self._reading_paused)
        if at >= self._timer_at:
            return  # the pending timer fires earlier and looks again
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self.loop.call_at(at, self._check)

    def resume(self, exchange: Exchange) -> None:
        """Read from the socket again; the pause does not count as the backend's."""
        if self._reading_paused:
            self._reading_paused = False
            exchange.last = self.loop.time()
            self._transport.resume_reading()
            self.watch(exchange)

    def abort(self) -> None:
        """Close the socket at once, with whatever runs on it; its slot becomes free."""
        self._end(None, keep=False)

    def fail(self, error: httpx.HTTPError) -> None:
        """Close the socket at once, and let the exchange that runs raise `error`."""
        self._end(error, keep=False)

    def _end(self, error: httpx.HTTPError | None, *, keep: bool) -> None:
        if self.closed:
            return
        exchange, self._exchange = self._exchange, None
        if not keep:
            self.closed = True
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._transport.abort()
            self._parser.close()
            self._owner.forget(self)
        if exchange is not None:
            exchange.detach(error)
            self._owner.release(self if keep else None)
            exchange.wake()

    def _check(self) -> None:
        """See whether the exchange has crossed a limit; if not, look again when it could have."""
        self._timer = None
        self._timer_at = math.inf
        exchange = self._exchange
        if exchange is None:
            return
        now = self.loop.time()
        if exchange.upload == SENDING:
            unsent = self._transport.get_write_buffer_size()
            if not self.writing_paused or unsent < self._unsent:
                exchange.last = now
            self._unsent = unsent
        if now < exchange.deadline(reading_paused=self._reading_paused):
            self.watch(exchange)
        else:
            self.fail(exchange.timeout(now))

    # For the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            self.abort()  # nobody asked: the next answer could not be told from this
            return
        phase = exchange.phase
        error = self._parser.feed(data)
        if exchange.phase == DONE:
            keep = error is None and exchange.upload == SENT and self._parser.in_step()
            self._end(error, keep=keep)
        elif error is not None:
            self.fail(error)
        else:
            exchange.last = self.loop.time()
            if exchange.held > HIGH_WATER:
                self._reading_paused = True
                self._transport.pause_reading()
            if exchange.phase != phase:
                self.watch(exchange)
            exchange.wake()

    def eof_received(self) -> None:
        self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        exchange = self._exchange
        error: httpx.HTTPError | None = None
        if exchange is not None and not self.closed:
            exchange.vanished = self._parser.untouched
            error = self._parser.end()
            if exc is not None:
                error = httpx.ReadError(f"the connection broke: {exc}")
        self._end(error, keep=False)

    def pause_writing(self) -> None:
        self.writing_paused = True
        self._unsent = self._transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        self.writing_paused = False
        if self._exchange is not None:
            self._exchange.last = self.loop.time()
            self._exchange.wake()
