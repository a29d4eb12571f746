"""The HTTP connections of uvicorn's server: limits, pipelining, refused upgrades.

Owns the bytes of one connection until a request is complete: how long its head may be and take,
how many requests may wait behind a running one, what becomes of a body that nobody reads. A
refusal at this level is JSON in OpenAI's shape, like every other, and is never written into an
answer that is under way. Takes the place of uvicorn's own protocol, whose cost per request is
several times this one's; the answers are `cycle.py`'s.
"""

import asyncio
import enum
import math
from collections import deque
from typing import Any, cast

import httptools
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.server import ServerState

from portal.runtime.hosts.body import WHOLE
from portal.runtime.hosts.cycle import CYCLE, Cycle, expects_continue
from portal.runtime.hosts.deadlines import Deadlines
from portal.runtime.hosts.errors import DROP
from portal.runtime.hosts.header_lines import HeaderLines
from portal.runtime.hosts.reply import whole_answer
from portal.runtime.hosts.scope import address_of, http_scope, without_upgrade
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


def guarded_protocol(*, max_header_bytes: int, header_seconds: float) -> type["ClientConnection"]:
    """Make the protocol class for these limits, since uvicorn itself creates the instances."""
    return type(
        "GuardedConnection",
        (ClientConnection,),
        {"max_header_bytes": max_header_bytes, "header_seconds": header_seconds},
    )


def _nothing() -> None:
    """Stand in for `drop` where no connection is left, and leaves nothing that refers to it."""


class ClientConnection(asyncio.Protocol):
    """One client's connection, whose requests are answered one after the other."""

    max_header_bytes: int
    header_seconds: float

    transport: asyncio.Transport
    flow: FlowControl

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self.server_state = server_state
        self._app: Any = config.loaded_app
        self._app_state = app_state
        self.loop = _loop or asyncio.get_running_loop()
        self._keep_alive_seconds = config.timeout_keep_alive
        self._server: Any = None
        self._client: Any = None
        self._parser = self._new_parser()
        # The request whose bytes come now
        self._stage = BETWEEN
        self._url = b""
        self._lines = HeaderLines(self.max_header_bytes)
        self._again = b""
        # The requests that are complete enough to be answered
        self._newest: Cycle | None = None
        self._running: Cycle | None = None
        self._queue: deque[Cycle] = deque()
        # The end
        self._fault: PortalError | None = None
        self._deaf = False
        self._swallowed = 0
        self._deadlines = Deadlines(self.loop, self._too_slow)

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        # A client may announce its last request and send another all the same.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    # For the server

    def shutdown(self) -> None:
        """Close once everything that was asked is answered."""
        last = self._queue[-1] if self._queue else self._running
        if last is None:
            self.transport.close()
        else:
            last.keep_alive = False

    # For the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not registered as asyncio's, so isinstance() would deny it.
        self.transport = cast("asyncio.Transport", transport)
        self.flow = FlowControl(self.transport)
        self._server = address_of(transport.get_extra_info("sockname"))
        self._client = address_of(transport.get_extra_info("peername"))
        self.server_state.connections.add(self)  # type: ignore[arg-type]  # typed as uvicorn's
        self._deadlines.expect_head(self.header_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server_state.connections.discard(self)
        self._deadlines.close()
        running, self._running = self._running, None
        self._queue.clear()
        for cycle in (running, self._newest):
            if cycle is not None:
                cycle.lose()
                cycle.scope[DROP] = _nothing
        self.flow.resume_writing()
        self.transport.close()
        del self._parser  # refers back to this object

    def pause_writing(self) -> None:
        self.flow.pause_writing()

    def resume_writing(self) -> None:
        self.flow.resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._deaf or (self._stage is BODY and self._running is None):
            self._swallowed += len(data)
            if self._swallowed > SWALLOWED:
                self.transport.abort() if self._running is not None else self.transport.close()
                return
            if self._deaf:
                return
        self._lines.begin_read(len(data))
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._refuse(self._fault or InvalidRequest("The request is not valid HTTP/1.1."))
            return
        if self._lines.end_read(len(self._url)):
            self._refuse(self._too_large())
        elif self._stage is HEAD and self._running is None and self._deadlines.head == math.inf:
            self._deadlines.expect_head(self.header_seconds)

    def _parse(self, data: bytes) -> None:
        """Feed the parser, and a head that asks for an upgrade once more without that wish.

        The parser takes all that follows such a head for another protocol, the body included.
        """
        while True:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as stopped:
                data = self._again + data[stopped.args[0] :]
                self._again = b""
                self._parser = self._new_parser()
            else:
                return

    # For the parser

    def on_message_begin(self) -> None:
        self._url = b""
        self._deadlines.idle = math.inf
        self._stage = HEAD
        self._lines.begin()

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._lines.tell()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._lines.found.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._lines.too_long(len(self._url)):
            self._stop(self._too_large())
        self._deadlines.head = math.inf
        parser = self._parser
        method = parser.get_method()
        if method == b"CONNECT":
            self._stop(InvalidRequest("Portal is no proxy: CONNECT is not taken."))
        if parser.should_upgrade():
            version = parser.get_http_version()
            self._again = without_upgrade(method, self._url, version, self._lines.found)
            return
        if len(self._queue) >= QUEUE:
            self._stop(InvalidRequest(f"More than {QUEUE} requests wait on this connection."))
        self._stage = BODY
        version = parser.get_http_version()
        scope = http_scope(method, self._url, version, self._lines.found)
        scope["server"], scope["client"] = self._server, self._client
        scope["state"] = self._app_state.copy()
        scope[DROP] = self.drop
        self._url = b""
        self._lines.begin()
        cycle = Cycle(self, scope, version != "1.0" and parser.should_keep_alive())
        self._newest = cycle
        scope[CYCLE] = cycle
        if self._running is None:
            self._run(cycle)
        else:
            self._queue.append(cycle)

    def on_body(self, body: bytes) -> None:
        self._lines.tell()
        cycle = self._newest
        assert cycle is not None
        if cycle.response_complete:
            return
        cycle.add(body)
        if cycle is not self._running:
            if cycle.held > QUEUED_BODY:
                self._stop(InvalidRequest("The body of a request that waits is too large."))
            self.flow.resume_reading()

    def on_message_complete(self) -> None:
        if self._again:
            return
        if self._lines.too_long(0):
            self._stop(self._too_large())
        self._lines.begin()
        self._stage = BETWEEN
        cycle = self._newest
        assert cycle is not None
        cycle.scope[WHOLE] = True
        cycle.end_body()

    # For the cycles

    def _run(self, cycle: Cycle) -> None:
        self._running = cycle
        tasks = self.server_state.tasks
        task = cycle.task = self.loop.create_task(cycle.run(self._app))
        task.add_done_callback(tasks.discard)
        tasks.add(task)

    def answered(self) -> None:
        """Take the next request from the queue, or wait for one."""
        self._running = None
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self._queue:
            self._run(self._queue.popleft())
        elif self._stage is HEAD:
            self._deadlines.expect_head(self.header_seconds)
        elif self._stage is BODY and self._newest and expects_continue(self._newest.scope):
            # Nobody can tell whether the body, which was not asked for, will still come.
            self.transport.close()
        else:
            # Of a body that nobody reads, this bounds how long the rest may take.
            self._deadlines.expect_request(self._keep_alive_seconds)
            self._swallowed = 0

    def drop(self) -> None:
        """End the connection within an answer, after what was written: its client sees a cut."""
        if self._running is not None:
            self._running.disconnected = True
        self.transport.close()

    # Refusals

    def _stop(self, fault: PortalError) -> None:
        self._fault = fault
        raise _Refused

    def _too_slow(self) -> None:
        if self._stage is HEAD:
            self._refuse(
                SlowRequest(f"The request's head did not arrive within {self.header_seconds:g} s.")
            )
        else:
            # A connection opened in advance or kept, and not used, is closed without a word.
            self.transport.close()

    def _too_large(self) -> HeadersTooLarge:
        return HeadersTooLarge(f"The request's head is larger than {self.max_header_bytes} bytes.")

    def _refuse(self, error: PortalError) -> None:
        """Answer with the error and close; behind a running request, close once it is answered."""
        self._deadlines.lift()
        self._deaf = True
        self._swallowed = 0
        if self.transport.is_closing():
            return
        # Deaf, yet not blind: only who reads notices that the client leaves.
        self.flow.resume_reading()
        running = self._running
        if running is not None:
            own = running is self._newest and self._stage is BODY
            if not own or running.response_started:
                self._close_after_the_queue(running)
                return
            running.lose()
        elif self._stage is BODY:
            # Its answer is sent already.
            self.transport.close()
            return
        self.transport.write(whole_answer(error))
        self.transport.close()

    def _close_after_the_queue(self, running: Cycle) -> None:
        if self._stage is BODY and self._queue and self._queue[-1] is self._newest:
            # The newest in the queue will never be complete.
            self._queue.pop()
        last = self._queue[-1] if self._queue else running
        last.keep_alive = False
