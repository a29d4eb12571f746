"""A server that says exactly the bytes a test scripts, over real sockets on loopback.

It knows nothing of HTTP but where a request ends, so that it can be as wrong as servers are.
"""

import asyncio
import contextlib
import random
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

from portal.runtime.backends.exchange import Exchange
from portal.runtime.backends.limits import Limits
from portal.runtime.backends.transport import LocalTransport, Origin

Script = Callable[["Wire"], Awaitable[None]]


class Request(NamedTuple):
    """What arrived: the head with its empty line, and the body."""

    head: bytes
    body: bytes

    @property
    def line(self) -> bytes:
        """The request line."""
        return self.head.split(b"\r\n", 1)[0]


class Wire:
    """One accepted connection, from the server's end; `number` counts from 1."""

    def __init__(
        self,
        server: "WireServer",
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.number = number
        self._server = server
        self._reader = reader
        self._writer = writer

    async def request(self) -> Request | None:
        """Read one request; None when the client has left."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            body = b""
            for line in head.lower().split(b"\r\n"):
                name, _, value = line.partition(b":")
                if name == b"content-length":
                    body = await self._reader.readexactly(int(value))
                elif name == b"transfer-encoding":
                    body = await self._reader.readuntil(b"0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        request = Request(head, body)
        self._server.requests.append(request)
        return request

    async def read(self, size: int) -> bytes:
        """Read exactly so many bytes of the request."""
        return await self._reader.readexactly(size)

    async def send(self, *pieces: bytes) -> None:
        """Send pieces, giving the client a chance to read each; ConnectionError once it left."""
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()
            await asyncio.sleep(0)

    async def gone(self) -> None:
        """Wait until the client has closed its end."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(65536):
                pass

    def close(self) -> None:
        """Close the connection in order."""
        self._writer.close()

    def reset(self) -> None:
        """Close the connection so that the client sees a reset."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


class WireServer:
    """Where it listens, and what it saw."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.requests: list[Request] = []
        self.accepted = 0
        self.open = 0
        self._changed = asyncio.Event()

    @property
    def url(self) -> str:
        """The base URL, for plain HTTP."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def count(self, change: int) -> None:
        """Note that a connection came or went."""
        self.open += change
        self.accepted += change > 0
        self._changed.set()

    async def until_open(self, connections: int) -> None:
        """Wait until exactly so many connections are open."""
        while self.open != connections:
            self._changed.clear()
            await self._changed.wait()


@contextlib.asynccontextmanager
async def serving(
    script: Script, *, host: str = "127.0.0.1", context: ssl.SSLContext | None = None
) -> AsyncIterator[WireServer]:
    """Run `script` for each connection until the block ends; its failure fails the test."""
    listener = _listen(host)
    server = WireServer(host, listener.getsockname()[1])
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server.count(+1)
        try:
            await script(Wire(server, server.accepted, reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            tasks.discard(task)
            server.count(-1)
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    listening = await asyncio.start_server(serve, sock=listener, ssl=context)
    try:
        yield server
    finally:
        listening.close()
        pending = list(tasks)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending)
        await listening.wait_closed()


def replying(*answers: bytes) -> Script:
    """Answer each request of a connection with the next of `answers`, the last one for ever."""

    async def script(wire: Wire) -> None:
        left = list(answers)
        while await wire.request() is not None:
            await wire.send(left[0])
            if len(left) > 1:
                left.pop(0)

    return script


def free_port(host: str = "127.0.0.1") -> int:
    """Find a port where nothing listens, below those that the system gives to clients."""
    with _listen(host) as listener:
        port: int = listener.getsockname()[1]
    return port


def _listen(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(200):
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.bind((host, random.randrange(18000, 32000)))
        except OSError:
            listener.close()
        else:
            listener.setblocking(False)
            return listener
    raise OSError(f"no free port was found on {host}")


class Rig:
    """A scripted server and the transport that talks to it."""

    def __init__(self, server: WireServer, transport: LocalTransport) -> None:
        self.server = server
        self.transport = transport

    def ask(
        self,
        *,
        method: str = "GET",
        path: str = "/",
        body: bytes = b"",
        limits: Limits | None = None,
    ) -> Awaitable[Exchange]:
        """Send a request whose head is right."""
        head = f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        origin = Origin(self.server.host, self.server.port)
        return self.transport.exchange(origin, head.encode(), body, limits)

    async def read(self, **request: Any) -> tuple[int, bytes]:
        """Ask, and read the whole answer."""
        reply = await self.ask(**request)
        return reply.status, await reply.read(1 << 30)


@contextlib.asynccontextmanager
async def rig(
    script: Script,
    *,
    limits: Limits = Limits(10, 10, 10, 10, 10),  # noqa: B008  frozen
    max_connections: int = 4,
    idle_seconds: float = 60.0,
    seconds: float = 15.0,
) -> AsyncIterator[Rig]:
    """Run server and transport for at most `seconds`; a slot still taken at the end is a leak."""
    transport = LocalTransport(
        max_connections=max_connections, idle_seconds=idle_seconds, limits=limits
    )
    async with asyncio.timeout(seconds), serving(script) as server:
        try:
            yield Rig(server, transport)
            assert transport.active == 0, "a slot was not given back"
            assert transport.waiting == 0, "a waiting caller was forgotten"
        finally:
            await transport.aclose()
