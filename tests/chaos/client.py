"""A client of its own: one connection, one request at a time, and what came of each.

Plain enough to know exactly how an answer ended, which a library's exceptions blur.
"""

import asyncio
import time
from typing import Literal, cast

import httptools
import msgspec

Ended = Literal["whole", "cut", "left", "hung"]


class Heard(msgspec.Struct):
    """An answer, as far as it came."""

    status: int = 0
    headers: dict[str, str] = {}
    body: bytes = b""
    ended: Ended = "hung"
    """`whole` by HTTP's rules, `cut` by the server, `left` by the client, `hung` not at all."""
    seconds: float = 0.0


class Leaving(msgspec.Struct, frozen=True):
    """When a client has had enough."""

    events: int = 0
    """After so many records of a stream."""
    seconds: float = 0.0
    """After so long, whatever came."""


class Client:
    """One of the many; keeps its connection as long as the server does."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._line: _Line | None = None

    async def ask(self, request: bytes, patience: float, leaving: Leaving | None = None) -> Heard:
        """Send a request and wait for the end of its answer, `patience` seconds at most."""
        began = time.monotonic()
        while True:
            reused = self._line is not None
            line = self._line or await self._connect()
            self._line = None
            heard = await line.ask(request, patience, leaving)
            if heard.ended != "cut" or heard.status or not reused:
                break
            # The server closed an idle connection at the very moment it was used again.
        heard.seconds = time.monotonic() - began
        if heard.ended == "whole" and line.reusable:
            self._line = line
        else:
            line.abort()
        return heard

    def close(self) -> None:
        """Leave."""
        if self._line is not None:
            self._line.abort()

    async def _connect(self) -> "_Line":
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(_Line, self._host, self._port)
        return line


class _Line(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._heard = Heard()
        self._parts: list[bytes] = []
        self._headers: dict[str, str] = {}
        self._records = 0
        self._leave_after = 0
        self._end: asyncio.Future[Ended] | None = None
        self._closed = False

    @property
    def reusable(self) -> bool:
        """Whether the server will take another request."""
        return not self._closed and bool(self._parser.should_keep_alive())

    async def ask(self, request: bytes, patience: float, leaving: Leaving | None) -> Heard:
        loop = asyncio.get_running_loop()
        if self._closed or self._transport is None:
            return Heard(ended="cut")
        self._end = loop.create_future()
        self._heard, self._parts, self._headers, self._records = Heard(), [], {}, 0
        self._leave_after = leaving.events if leaving else 0
        self._transport.write(request)
        limit = leaving.seconds if leaving and leaving.seconds else patience
        try:
            async with asyncio.timeout(limit):
                self._heard.ended = await self._end
        except TimeoutError:
            self._heard.ended = "left" if leaving and leaving.seconds else "hung"
        self._heard.headers = self._headers
        self._heard.body = b"".join(self._parts)
        return self._heard

    def abort(self) -> None:
        self._closed = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._finish("cut")
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self._finish("cut")

    def _finish(self, ended: Ended) -> None:
        if self._end is not None and not self._end.done():
            self._end.set_result(ended)

    # httptools calls these four.
    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._heard.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)
        self._records += body.count(b"data:")
        if self._leave_after and self._records >= self._leave_after:
            self._finish("left")

    def on_message_complete(self) -> None:
        self._finish("whole")
