"""The keep-alive connections to one origin: at most so many, handed out first come first served.

A slot is the right to run one exchange. It is taken before a connection is opened or reused and
given back by the connection itself, synchronously, when its exchange ends. Waiting callers are
handed slots in order, so a newcomer never overtakes them.
"""

import asyncio
import contextlib
import math
import os
import socket
from collections import OrderedDict, deque

import httpx

from portal.runtime.backends.connection import Connection
from portal.runtime.backends.exchange import Body, Exchange
from portal.runtime.backends.limits import Limits

# A server may listen on one family only; asking the resolver would cost a thread per connection.
_LOCALHOST = ("127.0.0.1", "::1")


class Connections:
    """All connections to one host and port, in use or idle; lives in one event loop."""

    def __init__(self, host: str, port: int, *, max_connections: int, idle_seconds: float) -> None:
        self._host = host
        self._port = port
        self._most = max_connections
        self._idle_seconds = idle_seconds
        self._loop = asyncio.get_running_loop()
        self._all: set[Connection] = set()
        self._idle: deque[Connection] = deque()  # the longest idle first
        self._waiters: OrderedDict[asyncio.Future[Connection | None], None] = OrderedDict()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self.active = 0
        """Slots taken: exchanges under way and connections being opened."""

    @property
    def idle(self) -> int:
        """Connections kept open for the next exchange."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """Callers waiting for a slot."""
        return len(self._waiters)

    async def exchange(self, head: bytes, body: Body, limits: Limits) -> Exchange:
        """Send one request and return its answer once the head is known.

        `head` is the whole head with its empty line; `body` its bytes, or pieces already framed
        as the head says. Raises httpx exceptions.
        """
        started = self._loop.time()
        head_only = head.startswith(b"HEAD ")
        if self._idle:
            connection = self._idle.pop()
            self.active += 1
        else:
            connection = await self._acquire(limits, started)
        reused = connection.used
        exchange = connection.begin(limits, started, head_only=head_only)
        try:
            await exchange.perform(head, body)
        except (httpx.RemoteProtocolError, httpx.ReadError):
            if not (reused and exchange.vanished and isinstance(body, bytes)):
                raise
        else:
            return exchange
        # A kept connection was closed before it carried a byte back: most likely it had been
        # closed all along. Asked once more, on a fresh one.
        connection = await self._acquire(limits, started, fresh=True)
        exchange = connection.begin(limits, started, head_only=head_only)
        await exchange.perform(head, body)
        return exchange

    async def _acquire(self, limits: Limits, started: float, *, fresh: bool = False) -> Connection:
        if self._closed:
            raise httpx.ConnectError("the connections to this address have been closed")
        connection = None
        if self.active < self._most:
            self.active += 1
            if self.active + len(self._idle) > self._most:
                self._idle[0].abort()
        else:
            connection = await self._queue(limits, started)
        if connection is not None:
            if not connection.closed and not fresh:
                return connection
            connection.abort()
        return await self._connect(limits, started)

    async def _queue(self, limits: Limits, started: float) -> Connection | None:
        """Wait for a slot and, perhaps, the connection that it comes with."""
        waiter: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiters[waiter] = None
        total = started + limits.total - self._loop.time()
        patience = min(limits.pool, total)
        timer = None
        if patience < math.inf:
            doing = f"waiting for one of {self._most} connections to become free"
            error = httpx.PoolTimeout(
                limits.crossed("pool" if limits.pool <= total else "total", doing)
            )
            timer = self._loop.call_later(max(0.0, patience), _fail, waiter, error)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.release(waiter.result())  # handed over too late: it is the next one's
            raise
        finally:
            self._waiters.pop(waiter, None)
            if timer is not None:
                timer.cancel()

    async def _connect(self, limits: Limits, started: float) -> Connection:
        """Open a connection for a slot that is already held, or give the slot back."""
        left = started + limits.total - self._loop.time()
        seconds = min(limits.connect, left)
        try:
            async with asyncio.timeout(seconds if seconds < math.inf else None):
                connection = await self._open()
        except TimeoutError:
            self.release(None)
            name = "connect" if limits.connect <= left else "total"
            raise httpx.ConnectTimeout(limits.crossed(name, "opening a connection")) from None
        except (OSError, UnicodeError, ValueError, OverflowError) as error:
            self.release(None)
            raise httpx.ConnectError(f"no connection could be opened: {_reason(error)}") from error
        except BaseException:
            self.release(None)
            raise
        self._all.add(connection)
        if self._closed or connection.closed:
            connection.abort()
            self.release(None)
            if self._closed:
                raise httpx.ConnectError("the connections to this address have been closed")
            raise httpx.RemoteProtocolError("the connection was closed as soon as it was open")
        return connection

    async def _open(self) -> Connection:
        reasons: list[str] = []
        for host in _LOCALHOST if self._host == "localhost" else (self._host,):
            try:
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self, self._loop), host, self._port
                )
            except OSError as error:
                reasons.append(_reason(error))
            else:
                return connection
        raise OSError("; ".join(dict.fromkeys(reasons)))

    def release(self, connection: Connection | None) -> None:
        """Give a slot back; to the first waiter if there is one. None: without a connection."""
        while self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                waiter.set_result(connection)
                return
        self.active -= 1
        if connection is not None and not connection.closed:
            connection.idle_since = self._loop.time()
            self._idle.append(connection)
            if self._sweeper is None and self._idle_seconds < math.inf:
                self._sweeper = self._loop.call_later(self._idle_seconds, self._sweep)

    def forget(self, connection: Connection) -> None:
        """Drop a connection that has been closed."""
        self._all.discard(connection)
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)

    def _sweep(self) -> None:
        """Close what has been idle for too long; come back when the next one will have been."""
        self._sweeper = None
        now = self._loop.time()
        while self._idle:
            due = self._idle[0].idle_since + self._idle_seconds
            if due > now:
                self._sweeper = self._loop.call_at(due, self._sweep)
                return
            self._idle[0].abort()

    def close(self) -> None:
        """Close every connection, with what runs on it, and turn away those who wait."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for waiter in list(self._waiters):
            _fail(waiter, httpx.ConnectError("the connections to this address are being closed"))
        self._waiters.clear()
        for connection in list(self._all):
            connection.fail(httpx.ReadError("the connection is being closed on this side"))


def _fail(waiter: asyncio.Future[Connection | None], error: httpx.HTTPError) -> None:
    if not waiter.done():
        waiter.set_exception(error)


def _reason(error: Exception) -> str:
    """Say why a connection failed without the loop's own way of wording it."""
    if isinstance(error, OSError) and not isinstance(error, socket.gaierror) and error.errno:
        return os.strerror(error.errno).lower()
    return getattr(error, "strerror", None) or str(error)
