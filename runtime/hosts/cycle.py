"""One request and its answer on a connection: ASGI's `receive` and `send`, as bytes of HTTP/1.1.

Owns how an answer is framed and when its head goes out: with the first bytes of its body, since
each write wakes whoever reads at the other end and two cost nearly twice as much as one. When
requests come and in which order they are answered is the connection's business.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http import HTTPStatus
from typing import Any, Protocol

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.server import ServerState

CYCLE = "portal.cycle"
"""Where the scope holds its cycle, for what ASGI has no word for."""

ALLOWED = bytes(code for code in range(256) if (code >= 0x20 and code != 0x7F) or code == 0x09)
LAST_CHUNK = b"0\r\n\r\n"
PLAIN_ERROR = b"Internal Server Error"

Message = MutableMapping[str, Any]
Headers = Iterable[tuple[bytes, bytes]]
App = Callable[[Any, Any, Any], Awaitable[None]]

log = logging.getLogger("portal.host")


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}".encode()


STATUS_LINES = {status: _status_line(status) for status in range(100, 600)}


def expects_continue(scope: Any) -> bool:
    """Tell whether the client waits for a word before it sends its body."""
    return any(
        name == b"expect" and value.lower() == b"100-continue" for name, value in scope["headers"]
    )


class Owner(Protocol):
    """What a cycle needs of its connection."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    flow: FlowControl
    server_state: ServerState

    def answered(self) -> None:
        """Take note that the answer is complete."""
        ...


class Cycle:
    """A request whose head has come, and what has been said to it."""

    __slots__ = (
        "_chunked",
        "_continued",
        "_head",
        "_leave",
        "_news",
        "_owner",
        "_parts",
        "_waiter",
        "disconnected",
        "held",
        "keep_alive",
        "left",
        "more_body",
        "response_complete",
        "response_started",
        "scope",
        "task",
    )

    def __init__(self, owner: Owner, scope: Any, keep_alive: bool) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.disconnected = False
        """No more can be said: the client left, or the connection was dropped."""
        self.held = 0
        """Bytes of the body that nobody has read."""
        self.more_body = True
        self.task: asyncio.Task[None] | None = None
        self.response_started = False
        self.response_complete = False
        self.left: int | None = 0
        """Bytes that the answer's declared length leaves; None where none was declared."""
        self._owner = owner
        self._continued = False
        self._parts: list[bytes] = []
        self._news = False
        self._waiter: asyncio.Future[None] | None = None
        self._head = b""
        self._chunked = False
        self._leave: Callable[[], None] | None = None

    async def run(self, app: App) -> None:
        """Have the application answer; one that fails or says too little ends the connection."""
        try:
            await app(self.scope, self.receive, self.send)
        except BaseException as error:
            log.error("the application failed outside Portal's functions", exc_info=error)
            await self._give_up()
        else:
            if not self.response_complete and not self.disconnected:
                log.error("the application ended without a complete answer")
                await self._give_up()
        finally:
            # Each of them refers back to this object.
            self.task = None
            del self.scope[CYCLE]

    async def _give_up(self) -> None:
        if self.response_started:
            self._owner.transport.close()
            return
        length = b"%d" % len(PLAIN_ERROR)
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", length),
            (b"connection", b"close"),
        ]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": PLAIN_ERROR})

    # For the application

    async def receive(self) -> Message:
        """Wait for the next part of the body, or for the end of the answer or the client."""
        owner = self._owner
        if self.more_body and not self._continued and not self.response_started:
            self._continued = True
            if expects_continue(self.scope) and not owner.transport.is_closing():
                owner.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self.disconnected and not self.response_complete:
            owner.flow.resume_reading()
            if not self._news:
                await self._wait()
            self._news = False
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self.held = 0
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise RuntimeError("The request is already being received by another task.")
        self._waiter = self._owner.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def send(self, message: Message) -> None:
        """Write a part of the answer once the client has taken most of what came before.

        To a client that is gone nothing is said. Raises RuntimeError for what is no answer.
        """
        flow = self._owner.flow
        if flow.write_paused and not self.disconnected:
            await flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if kind == "http.response.body" and self.response_started and not self.response_complete:
            self._write(message.get("body", b""), more=message.get("more_body", False))
        elif kind == "http.response.start" and not self.response_started:
            self._start(message["status"], message.get("headers", ()))
        else:
            raise RuntimeError(f"An answer does not go on with {kind!r} here.")

    def watch(self, leave: Callable[[], None] | None) -> None:
        """Have this called when the client leaves before its answer is complete; None: no more."""
        self._leave = leave
        if leave is not None:
            self._owner.flow.resume_reading()  # Only who reads notices.
            if self.disconnected:
                leave()

    # For the connection

    def add(self, body: bytes) -> None:
        """Keep a part of the body for whoever reads it."""
        self._parts.append(body)
        self.held += len(body)
        if self.held > HIGH_WATER_LIMIT:
            self._owner.flow.pause_reading()
        self.wake()

    def end_body(self) -> None:
        """Take note that the request is complete."""
        self.more_body = False
        self.wake()

    def wake(self) -> None:
        """Let whoever receives look: at a part of the body, its end, or the end of it all."""
        self._news = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def lose(self) -> None:
        """Take note that the client is gone."""
        if self.response_complete:
            return
        self.disconnected = True
        self.wake()
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()

    # The answer as bytes

    def _start(self, status: int, headers: Headers) -> None:
        lines = [*self._owner.server_state.default_headers, *headers]
        found = dict(headers)
        method, version = self.scope["method"], self.scope["http_version"]
        if b"close" in found.get(b"connection", b"").lower():
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append((b"connection", b"close"))
        length = found.get(b"content-length")
        if method == "HEAD" or status in (204, 304):
            pass
        elif length is not None:
            self.left = int(length)
        else:
            self.left = None
            # Who does not know chunks is told the end by the end of the connection.
            self._chunked = version != "1.0"
            if self._chunked and b"transfer-encoding" not in found:
                lines.append((b"transfer-encoding", b"chunked"))
        head = b"\r\n".join((STATUS_LINES[status], *map(b": ".join, lines), b"", b""))
        if head.translate(None, ALLOWED) != b"\r\n" * (len(lines) + 2):
            raise RuntimeError("A header of the answer would not stay on its line.")
        self.response_started = True
        if method == "HEAD":
            self._owner.transport.write(head)
        else:
            self._head = head

    def _write(self, body: bytes, *, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            body = b""
        elif self.left is not None:
            self.left -= len(body)
            if self.left < 0 or (self.left and not more):
                raise RuntimeError("The answer's body does not have the length that its head says.")
        elif self._chunked:
            if body:
                body = b"%x\r\n%b\r\n" % (len(body), body)
            if not more:
                body += LAST_CHUNK
        owner = self._owner
        if self._head:
            body = self._head + body
            self._head = b""
        if body:
            owner.transport.write(body)
        if not more:
            self.response_complete = True
            self.wake()
            if not self.keep_alive:
                owner.transport.close()
            owner.answered()
