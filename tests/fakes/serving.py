"""HTTP/1.1 for the fake servers: exact bytes out, and a client that leaves is noticed at once.

Owns sockets, parsing and framing; knows nothing of any API. An `Exchange` is one request and the
means to answer it. Its handler runs in a task that is cancelled when the client goes away.
"""

import asyncio
import contextlib
import socket
import struct
import traceback
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from http import HTTPStatus
from typing import Any, Protocol, cast
from urllib.parse import parse_qsl

import httptools

HOST = "127.0.0.1"
Headers = Sequence[tuple[str, str]]
Work = Coroutine[Any, Any, None]


class Exchange:
    """One request, whole, and the answer being written to it."""

    __slots__ = (
        "body",
        "connection",
        "cut_at",
        "framed",
        "headers",
        "keep_alive",
        "method",
        "on_closed",
        "over",
        "path",
        "query",
        "sent",
        "started",
    )

    def __init__(self, connection: "Connection", method: str, target: str) -> None:
        path, _, query = target.partition("?")
        self.connection = connection
        self.method = method
        self.path = path
        self.query = dict(parse_qsl(query, keep_blank_values=True)) if query else {}
        self.headers: list[tuple[str, str]] = []
        self.body = b""
        self.keep_alive = True
        self.framed = False
        self.started = False
        self.over = False
        self.sent = 0
        """Bytes of the answer's body so far, framing not counted."""
        self.cut_at: int | None = None
        """Byte of the body at which the connection is cut, wherever the body comes from."""
        self.on_closed: Callable[[], None] | None = None
        """Called once if the client closes before the answer is whole."""

    def header(self, name: str) -> str | None:
        """Find the first header of this name, in any case."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    def start(self, status: int, headers: Headers, *, length: int | None = None) -> None:
        """Send the head; without `length` the body is chunked, or ends with the connection."""
        lines = [f"HTTP/1.1 {status} {phrase(status)}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        elif self.connection.version != "1.0":
            self.framed = True
            lines.append("Transfer-Encoding: chunked")
        else:
            self.keep_alive = False
        if not self.keep_alive:
            lines.append("Connection: close")
        self.started = True
        self.connection.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    async def write(self, data: bytes) -> None:
        """Send a piece of the body and wait while the client's side is full."""
        if self.over or not data:
            return
        if self.cut_at is not None and self.sent + len(data) >= self.cut_at:
            kept = data[: self.cut_at - self.sent]
            self.sent += len(kept)
            # The chunk announces more than it holds, as a server that dies in mid-write does.
            head = b"%x\r\n" % len(data) if self.framed and kept else b""
            self.connection.write(head + kept)
            self.cut()
            return
        self.sent += len(data)
        self.connection.write(b"%x\r\n%b\r\n" % (len(data), data) if self.framed else data)
        await self.connection.drained()

    def end(self, *, drop: bool = False) -> None:
        """Complete the answer; `drop` then closes the connection without having said so."""
        if self.over:
            return
        self.over = True
        if self.framed:
            self.connection.write(b"0\r\n\r\n")
        if drop or not self.keep_alive:
            self.connection.close()
        self.connection.next_exchange()

    async def reply(
        self, status: int, headers: Headers, body: bytes, *, drop: bool = False
    ) -> None:
        """Answer in one go, with a Content-Length."""
        self.start(status, headers, length=len(body))
        await self.write(body)
        self.end(drop=drop)

    def answer_raw(self, data: bytes, *, close: bool) -> None:
        """Send prebuilt bytes as the whole answer, head included."""
        self.over = self.started = True
        if data:
            self.connection.write(data)
        if close:
            self.connection.close()
        self.connection.next_exchange()

    def cut(self, *, reset: bool = False) -> None:
        """Close the connection in mid-answer, in order (FIN) or by force (RST)."""
        self.over = True
        self.connection.close(reset=reset)


class Application(Protocol):
    """What a server does with a request: answer it now (None), or say how."""

    def __call__(self, exchange: Exchange) -> Work | None: ...


class Connection(asyncio.Protocol):
    """One client connection; requests that arrive early wait for their turn."""

    def __init__(self, application: Application, live: set["Connection"], number: int) -> None:
        self.number = number
        self.version = "1.1"
        self._application = application
        self._live = live
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._queue: deque[Exchange] = deque()
        self._current: Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._target = b""
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []

    @property
    def current(self) -> Exchange | None:
        """The request that is being answered."""
        return self._current

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._live.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._live.discard(self)
        self._transport = None
        self._writable.set()
        self._queue.clear()
        exchange = self._current
        if exchange is not None and not exchange.over:
            exchange.over = True
            if exchange.on_closed is not None:
                exchange.on_closed()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError:
            self.write(
                b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            )
            self.close()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # httptools calls these five.
    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        for name, value in self._headers:
            if name.lower() == "expect" and value.lower() == "100-continue":
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode("ascii")
        exchange = Exchange(self, method, self._target.decode("latin-1"))
        exchange.headers = self._headers
        exchange.body = b"".join(self._body)
        exchange.keep_alive = self._parser.should_keep_alive()
        self.version = self._parser.get_http_version()
        self._target, self._headers, self._body = b"", [], []
        if self._current is None:
            self._begin(exchange)
        else:
            self._queue.append(exchange)

    def write(self, data: bytes) -> None:
        """Send bytes as they are, unless the client has gone."""
        if self._transport is not None:
            self._transport.write(data)

    async def drained(self) -> None:
        """Wait until the client has taken what was written."""
        if not self._writable.is_set():
            await self._writable.wait()

    def close(self, *, reset: bool = False) -> None:
        """Close after what was written, or at once with a reset."""
        if self._transport is None:
            return
        if reset:
            force_reset(self._transport)
        else:
            self._transport.close()

    def next_exchange(self) -> None:
        """Turn to the next request that came in meanwhile."""
        self._current = self._task = None
        if self._queue and self._transport is not None and not self._transport.is_closing():
            self._begin(self._queue.popleft())

    def _begin(self, exchange: Exchange) -> None:
        self._current = exchange
        work = self._application(exchange)
        if work is not None:
            self._task = asyncio.get_running_loop().create_task(work)
            self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        """A fault of the fake itself must show: on stderr, and as a reset to the client."""
        if not task.cancelled() and (error := task.exception()) is not None:
            traceback.print_exception(error)
            self.close(reset=True)


def phrase(status: int) -> str:
    """Name a status code as the standard library does."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def force_reset(transport: asyncio.BaseTransport) -> None:
    """Close a connection with RST: what the peer has not read yet is lost to it."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    cast("asyncio.Transport", transport).abort()


async def listen(application: Application, port: int, live: set[Connection]) -> asyncio.Server:
    """Accept connections on loopback; `live` holds them while they are open."""
    count = 0

    def accept() -> Connection:
        nonlocal count
        count += 1
        return Connection(application, live, count)

    loop = asyncio.get_running_loop()
    return await loop.create_server(accept, HOST, port, backlog=1024)
