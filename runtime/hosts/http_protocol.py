"""uvicorn's HTTP protocol with what it leaves open: limits, pipelining, refused upgrades.

Owns the bytes of one connection until a request is complete: how long its head may be and take,
how many requests may wait behind a running one, what becomes of a body that nobody reads. A
refusal at this level is JSON in OpenAI's shape, like every other, and is never written into an
answer that is under way.
"""

import asyncio
import enum
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from portal.runtime.hosts.body import WHOLE
from portal.runtime.hosts.errors import DROP, answer_for, openai_error
from portal.shared.errors import HeadersTooLarge, InvalidRequest, PortalError, SlowRequest

QUEUE = 8
"""Most requests that may wait behind the one being answered; more, and the connection ends."""

SWALLOWED = 1024 * 1024
"""Most bytes read and thrown away, so that a client still sending sees its answer."""

QUEUED_BODY = 1024 * 1024
"""Largest body of a request that waits: reading must go on, to notice a client that leaves."""


class Stage(enum.Enum):
    """What the next byte belongs to."""

    BETWEEN = "between"
    HEAD = "head"
    BODY = "body"


BETWEEN, HEAD, BODY = Stage


class _Refused(Exception):
    """Ends the parser's run; what is wrong is noted, since the parser in C loses it."""


class _Joining:
    """The transport as an answer sees it: its head waits for the body's first bytes.

    Each write wakes whoever reads at the other end, so two cost nearly twice as much as one.
    """

    __slots__ = ("_head", "_transport", "write")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self.write: Callable[[bytes], None] = self._hold

    def _hold(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 100 "):
            self._transport.write(data)
            return
        self._head = data
        self.write = self._join

    def _join(self, data: bytes) -> None:
        self.write = self._transport.write
        self._transport.write(self._head + data)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        if self.write == self._join:
            self._join(b"")
        self._transport.close()


def guarded_protocol(*, max_header_bytes: int, header_seconds: float) -> type[HttpToolsProtocol]:
    """Make the protocol class for these limits, since uvicorn itself creates the instances."""
    return type(
        "GuardedProtocol",
        (_Guarded,),
        {"max_header_bytes": max_header_bytes, "header_seconds": header_seconds},
    )


def _nothing() -> None:
    """Stand in for `drop` where no connection is left, and leaves nothing that refers to it."""


class _Guarded(HttpToolsProtocol):
    max_header_bytes: int
    header_seconds: float

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.url = b""
        self._stage = BETWEEN
        self._running: Any = None
        """The cycle being answered; uvicorn's `cycle` is the one received last."""
        self._head_bytes = 0
        """Of the header lines, or the trailers, that are complete."""
        self._unfinished = 0
        """Of reads that completed nothing: a line without end is not told by the parser."""
        self._told = False
        self._fault: PortalError | None = None
        self._deaf = False
        self._swallowed = 0
        self._again = b""
        self._head_timer: asyncio.TimerHandle | None = None

    def drop(self) -> None:
        """End the connection within an answer, after what was written: its client sees a cut."""
        if self._running is not None:
            self._running.disconnected = True
        self.transport.close()

    # The connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._unset_keepalive_if_required()
        running = self._running
        if running is not None:
            if not running.response_complete:
                running.disconnected = True
                running.message_event.set()
            running.scope[DROP] = _nothing
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deaf or (self._stage is BODY and self._running is None):
            self._swallowed += len(data)
            if self._swallowed > SWALLOWED:
                self.transport.abort() if self._running is not None else self.transport.close()
                return
            if self._deaf:
                return
        self._told = False
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._refuse(self._fault or InvalidRequest("The request is not valid HTTP/1.1."))
            return
        if self._told:
            self._unfinished = 0
        else:
            self._unfinished += len(data)
            if self._unfinished + self._head_bytes > self.max_header_bytes:
                self._refuse(self._too_large())
                return
        if self._stage is HEAD and self._head_timer is None and self._running is None:
            self._arm()

    def _parse(self, data: bytes) -> None:
        """Feed the parser, and a head that asks for an upgrade once more without that wish.

        The parser takes all that follows such a head for another protocol, the body included.
        """
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as stopped:
                data = self._again + data[stopped.args[0] :]
                self._again = b""
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            else:
                return

    def _without_upgrade(self, method: bytes) -> bytes:
        """Write the head just read once more, as if no other protocol had been asked for."""
        lines = [b"%b %b HTTP/%b" % (method, self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join((*lines, b"", b""))

    # Called by the parser

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._stage = HEAD
        self._head_bytes = 0
        self._told = True

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._told = True
        if len(self.url) > self.max_header_bytes:
            self._stop(self._too_large())

    def on_header(self, name: bytes, value: bytes) -> None:
        self._told = True
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > self.max_header_bytes:
            self._stop(self._too_large())
        # A trailer is no header: it comes after the head has been judged.
        if self._stage is HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._told = True
        self._disarm()
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._stop(InvalidRequest("Portal is no proxy: CONNECT is not taken."))
        if self.parser.should_upgrade():
            self._again = self._without_upgrade(method)
            return
        if len(self.pipeline) >= QUEUE:
            self._stop(InvalidRequest(f"More than {QUEUE} requests wait on this connection."))
        self._stage = BODY
        self._head_bytes = 0
        self.scope[DROP] = self.drop  # type: ignore[literal-required]
        super().on_headers_complete()
        if method != b"HEAD":  # whose head is all there is to write
            self.cycle.transport = _Joining(self.transport)  # type: ignore[assignment]
        if self.pipeline:
            # uvicorn stops reading here, and would not notice that the client leaves.
            self.flow.resume_reading()

    def on_body(self, body: bytes) -> None:
        self._told = True
        super().on_body(body)
        cycle = self.cycle
        if cycle is not self._running and not cycle.response_complete:
            if len(cycle.body) > QUEUED_BODY:
                self._stop(InvalidRequest("The body of a request that waits is too large."))
            self.flow.resume_reading()

    def on_message_complete(self) -> None:
        if self._again:
            return
        self._told = True
        self._stage = BETWEEN
        self._head_bytes = 0
        self.scope[WHOLE] = True  # type: ignore[literal-required]
        super().on_message_complete()

    # Called by uvicorn

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        self._running = None
        super().on_response_complete()
        if self._running is not None or self._stage is BETWEEN or self.transport.is_closing():
            return
        if self._stage is HEAD:
            self._unset_keepalive_if_required()
            if self._head_timer is None:
                self._arm()
        elif self.expect_100_continue:
            # Nobody can tell whether the body, which was not asked for, will still come.
            self.transport.close()
        else:
            # The keep-alive timer runs on, and bounds how long the rest may take.
            self._swallowed = 0

    # Refusals

    def _stop(self, fault: PortalError) -> None:
        self._fault = fault
        raise _Refused

    def _too_large(self) -> HeadersTooLarge:
        return HeadersTooLarge(f"The request's head is larger than {self.max_header_bytes} bytes.")

    def _arm(self) -> None:
        self._head_timer = self.loop.call_later(self.header_seconds, self._too_slow)

    def _disarm(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if self._stage is HEAD:
            self._refuse(
                SlowRequest(f"The request's head did not arrive within {self.header_seconds:g} s.")
            )
        else:
            # A connection opened in advance and never used is closed without a word.
            self.transport.close()

    def _refuse(self, error: PortalError) -> None:
        """Answer with the error and close; behind a running request, close once it is answered."""
        self._disarm()
        self._unset_keepalive_if_required()
        self._deaf = True
        self._swallowed = 0
        if self.transport.is_closing():
            return
        # Deaf, yet not blind: only who reads notices that the client leaves.
        self.flow.resume_reading()
        running = self._running
        if running is not None:
            own = running is self.cycle and self._stage is BODY
            if not own or running.response_started:
                self._close_after_the_queue(running)
                return
            running.disconnected = True
            running.message_event.set()
        elif self._stage is BODY:
            # Its answer is sent already.
            self.transport.close()
            return
        status = answer_for(error).status
        body = openai_error(error)
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n"
            % (status, HTTPStatus(status).phrase.encode(), len(body))
            + body
        )
        self.transport.close()

    def _close_after_the_queue(self, running: Any) -> None:
        if self._stage is BODY and self.pipeline and self.pipeline[0][0] is self.cycle:
            # The newest in the queue will never be complete.
            self.pipeline.popleft()
        last = self.pipeline[0][0] if self.pipeline else running
        last.keep_alive = False
