"""Plain HTTP to local backends for a fraction of what a general client costs.

Owns the connections to every origin it was asked for. Speaks HTTP/1.1 only; no TLS, no proxies,
no redirects, no cookies, no decompression.
"""

import math
import re
from collections.abc import AsyncIterator, Awaitable
from typing import NamedTuple

import httpx

from portal.runtime.backends.connections import Connections
from portal.runtime.backends.exchange import Body, Exchange
from portal.runtime.backends.limits import Limits

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(rb"[\x21-\x7e\x80-\xff]+")
_VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")


class Origin(NamedTuple):
    """Where to connect: `host` is a name or an address without brackets."""

    host: str
    port: int


class LocalTransport(httpx.AsyncBaseTransport):
    """HTTP/1.1 over kept connections; use it under `httpx.AsyncClient` or call `exchange`.

    `max_connections` holds for each origin; a connection unused for `idle_seconds` is closed.
    Belongs to the event loop that uses it first.
    """

    def __init__(
        self,
        *,
        max_connections: int = 64,
        idle_seconds: float = 60.0,
        limits: Limits = Limits(),  # noqa: B008 — frozen, so shared safely
    ) -> None:
        if max_connections < 1:
            raise ValueError(f"max_connections is {max_connections}; at least 1 is needed")
        self._max_connections = max_connections
        self._idle_seconds = idle_seconds
        self._limits = limits
        self._origins: dict[Origin, Connections] = {}

    @property
    def active(self) -> int:
        """Exchanges under way, connections being opened included."""
        return sum(origin.active for origin in self._origins.values())

    @property
    def idle(self) -> int:
        """Connections kept open for the next exchange."""
        return sum(origin.idle for origin in self._origins.values())

    @property
    def waiting(self) -> int:
        """Callers waiting for one of the connections."""
        return sum(origin.waiting for origin in self._origins.values())

    def exchange(
        self, origin: Origin, head: bytes, body: Body = b"", limits: Limits | None = None
    ) -> Awaitable[Exchange]:
        """Send a request that is bytes already; the answer satisfies `backend.Reply`.

        `head` ends with its empty line and frames `body`; nothing is added or checked. Raises
        httpx.ConnectError, ConnectTimeout, PoolTimeout, WriteTimeout, ReadTimeout, ReadError and
        RemoteProtocolError, here and while the answer is read.
        """
        connections = self._origins.get(origin)
        if connections is None:
            connections = self._origins[origin] = Connections(
                origin.host,
                origin.port,
                max_connections=self._max_connections,
                idle_seconds=self._idle_seconds,
            )
        return connections.exchange(head, body, limits or self._limits)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one httpx request; its `timeout` extension takes the place of the limits.

        There, `read` limits the first byte and each pause, and `write` is not told apart from it.
        """
        url = request.url
        if url.scheme != "http":
            raise httpx.UnsupportedProtocol(f"LocalTransport speaks http://, not {url.scheme}://")
        head = _head(request)
        body: Body
        if isinstance(request.stream, httpx.ByteStream):
            body = b"".join(request.stream)
        elif not isinstance(request.stream, httpx.AsyncByteStream):
            raise httpx.LocalProtocolError("the request's body cannot be read asynchronously")
        elif "transfer-encoding" in request.headers:
            body = _chunked(request.stream)
        elif "content-length" in request.headers:
            body = _measured(request.stream, int(request.headers["content-length"]))
        else:
            body = b""
        exchange = await self.exchange(
            Origin(url.raw_host.decode("ascii"), url.port or 80),
            head,
            body,
            _limits_of(request, self._limits),
        )
        return httpx.Response(exchange.status, headers=exchange.headers, stream=_Stream(exchange))

    async def aclose(self) -> None:
        """Close every connection at once; answers being read raise httpx.ReadError. Never waits."""
        for connections in self._origins.values():
            connections.close()


class _Stream(httpx.AsyncByteStream):
    """An answer's body as httpx wants it."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._exchange.__aiter__()

    async def aclose(self) -> None:
        self._exchange.close()


def check_header(name: bytes, value: bytes) -> None:
    """Refuse a header that would not stay one line; ValueError, which never shows the value."""
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is not a header name")
    if not _VALUE.fullmatch(value):
        raise ValueError(f"the value of header {name!r} has a line break or a control character")


def check_request_line(method: bytes, target: bytes) -> None:
    """Refuse a method or target that would not stay on the request line; ValueError."""
    if not _TOKEN.fullmatch(method):
        raise ValueError(f"{method!r} is not an HTTP method")
    if not _TARGET.fullmatch(target):
        raise ValueError(f"{target!r} is not a request target: blanks must be percent-encoded")


def _head(request: httpx.Request) -> bytes:
    method, target = request.method.encode("ascii", "replace"), request.url.raw_path
    try:
        check_request_line(method, target)
        lines = [b"%b %b HTTP/1.1" % (method, target)]
        for name, value in request.headers.raw:
            check_header(name, value)
            lines.append(b"%b: %b" % (name, value))
    except ValueError as error:
        raise httpx.LocalProtocolError(str(error)) from None
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _limits_of(request: httpx.Request, default: Limits) -> Limits:
    timeout = request.extensions.get("timeout")
    if timeout is None:
        return default

    def seconds(name: str) -> float:
        value = timeout.get(name)
        return math.inf if value is None else float(value)

    read = seconds("read")
    return Limits(
        connect=seconds("connect"),
        first_byte=read,
        stall=read,
        total=math.inf,
        pool=seconds("pool"),
    )


async def _chunked(stream: httpx.AsyncByteStream) -> AsyncIterator[bytes]:
    async for piece in stream:
        if piece:
            yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


async def _measured(stream: httpx.AsyncByteStream, length: int) -> AsyncIterator[bytes]:
    """Pass the pieces on; a sum other than the declared length is the caller's error."""
    sent = 0
    async for piece in stream:
        sent += len(piece)
        if sent > length:
            break
        yield piece
    if sent != length:
        raise httpx.LocalProtocolError(
            f"the request's body does not have the {length} bytes of its content-length"
        )
