"""HTTPS to backends that are not on this machine, through stock httpx.

httpx loses a connection for good when a task is cancelled a second time while it cleans up
(encode/httpx#3782). So each request runs in a task of its own that is cancelled once at most,
and the caller only waits for what that task hands over.
"""

import asyncio
import math
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import httpx

from portal.runtime.backends.exchange import HIGH_WATER
from portal.runtime.backends.limits import Limits


class SecureClient:
    """An `httpx.AsyncClient` made on first use, and the requests that run on it."""

    def __init__(self, *, max_connections: int, context: ssl.SSLContext | None = None) -> None:
        self._most = max_connections
        self._context = context
        self._client: httpx.AsyncClient | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def active(self) -> int:
        """Requests that have not ended."""
        return len(self._tasks)

    async def exchange(self, request: httpx.Request, limits: Limits) -> "SecureReply":
        """Send one request and return its answer once the head is known; httpx exceptions."""
        if self._client is None:
            # Loading the certificates takes tens of milliseconds: not before it is needed.
            self._client = httpx.AsyncClient(
                verify=self._context or httpx.create_ssl_context(trust_env=False),
                follow_redirects=False,
                trust_env=False,
                limits=httpx.Limits(
                    max_connections=self._most, max_keepalive_connections=self._most
                ),
            )
        reply = SecureReply(limits)
        await reply.start(self._spawn(reply.run(self._client, request)))
        return reply

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def aclose(self) -> None:
        """Cancel what runs, and close the connections."""
        tasks = list(self._tasks)
        for task in tasks:
            _cancel_once(task)
        if tasks:
            await asyncio.wait(tasks)
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


class SecureReply:
    """An answer that a task of its own reads; satisfies `portal.runtime.backends.backend.Reply`."""

    def __init__(self, limits: Limits) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.translate: Callable[[httpx.HTTPError], Exception] | None = None
        """Turns an error met while the body is read into the one to raise."""
        self._limits = limits
        self._chunks: list[bytes] = []
        self._held = 0
        self._ended = False
        self._error: httpx.HTTPError | None = None
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    async def start(self, task: asyncio.Task[None]) -> None:
        """Wait for the head that `task`, which runs `run`, reads."""
        self._task = task
        while not self.status and not self._ended:
            await self._wait()
        if self._error is not None:
            raise self._error

    async def run(self, client: httpx.AsyncClient, request: httpx.Request) -> None:
        """Send the request, read the answer, and note how it ended."""
        limits = self._limits
        doing, name = "waiting for the answer's first byte", "first_byte"
        request.extensions["timeout"] = _timeout(limits, limits.first_byte)
        try:
            async with asyncio.timeout(_finite(limits.total)):
                response = await client.send(request, stream=True)
                # Read anew when the body begins.
                request.extensions["timeout"] = _timeout(limits, limits.stall)
                doing, name = "reading the answer's body", "stall"
                try:
                    self.headers = [(key.lower(), value) for key, value in response.headers.raw]
                    self.status = response.status_code
                    self._news.set()
                    async for chunk in response.aiter_raw():
                        await self._add(chunk)
                finally:
                    await response.aclose()
        except asyncio.CancelledError:
            self._error = httpx.ReadError("the answer was closed on this side before its end")
            raise
        except TimeoutError:
            self._error = httpx.ReadTimeout(limits.crossed("total", doing))
        except httpx.TimeoutException as error:
            self._error = _named(error, limits, name, doing)
        except httpx.HTTPError as error:
            self._error = error
        except (OSError, RuntimeError) as error:  # what httpx lets through: TLS, a closed client
            self._error = httpx.ReadError(str(error))
        finally:
            self._ended = True
            self._news.set()

    async def _add(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._held += len(chunk)
        self._news.set()
        while self._held > HIGH_WATER:
            self._room.clear()
            await self._room.wait()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """Return what has arrived since the last call, in one piece."""
        while not self._chunks:
            if self._error is not None:
                self._raise(self._error)
            if self._ended:
                raise StopAsyncIteration
            await self._wait()
        chunk = b"".join(self._chunks)
        self._chunks.clear()
        self._held = 0
        self._room.set()
        return chunk

    async def read(self, limit: int) -> bytes:
        """Read the rest; httpx.RemoteProtocolError, and a closed connection, past `limit` bytes."""
        parts: list[bytes] = []
        size = 0
        async for chunk in self:
            size += len(chunk)
            if size > limit:
                self._close()
                self._raise(
                    httpx.RemoteProtocolError(
                        f"the answer is longer than the {limit} bytes that are read here at most"
                    )
                )
            parts.append(chunk)
        return b"".join(parts)

    async def aclose(self) -> None:
        """Stop reading. Never waits; a connection with unread bytes is closed at once."""
        self._close()

    def _close(self) -> None:
        self._chunks.clear()
        if self._task is not None:
            _cancel_once(self._task)

    def _raise(self, error: httpx.HTTPError) -> None:
        if self.translate is None:
            raise error
        raise self.translate(error) from error

    async def _wait(self) -> None:
        self._news.clear()
        try:
            await self._news.wait()
        except BaseException:
            self._close()
            raise


def _cancel_once(task: asyncio.Task[None]) -> None:
    if not task.cancelling():
        task.cancel()


def _finite(seconds: float) -> float | None:
    return seconds if seconds < math.inf else None


def _timeout(limits: Limits, read: float) -> dict[str, float | None]:
    return {
        "connect": _finite(limits.connect),
        "read": _finite(read),
        "write": _finite(limits.stall),
        "pool": _finite(limits.pool),
    }


def _named(
    error: httpx.TimeoutException, limits: Limits, name: str, doing: str
) -> httpx.TimeoutException:
    """Say what httpx's own timeouts leave out: the phase and the limit."""
    if isinstance(error, httpx.ConnectTimeout):
        name, doing = "connect", "opening a connection"
    elif isinstance(error, httpx.PoolTimeout):
        name, doing = "pool", "waiting for a connection to become free"
    elif isinstance(error, httpx.WriteTimeout):
        name, doing = "stall", "sending the request's body"
    return type(error)(limits.crossed(name, doing))
