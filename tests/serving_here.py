"""Portal's own HTTP protocol and host, served in this process, for functions made by a test."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from portal.runtime.app import create_app
from portal.runtime.catalogue import Function
from portal.runtime.hosts.adapter import Host
from portal.runtime.hosts.http_protocol import guarded_protocol
from portal.runtime.hosts.litestar_host import Application, build_application
from portal.runtime.ops import schema

PATIENCE = 10.0


def application_of(folder: Path, *functions: Function, **server: Any) -> Application:
    """Mount functions on a host of default settings but for `server`."""
    settings = schema.Settings(
        data_dir=folder / "data",
        state_dir=folder / "state",
        server=schema.Server(probe=False, **server),
        embedded=schema.Embedded(enabled=False),
    )
    host = create_app(settings).host
    host.accepting = True
    return build_application(host, functions, [])


class Connection:
    """One connection, on which bytes are sent and read as they are."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def send(self, *pieces: bytes) -> None:
        """Send each piece by itself, as far as the loop can tell."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def until(self, end: bytes) -> bytes:
        """Read up to these bytes."""
        async with asyncio.timeout(PATIENCE):
            return await self._reader.readuntil(end)

    async def answer(self) -> tuple[int, bytes, bytes]:
        """Read one answer that has a length: its status, head and body."""
        head = await self.until(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        async with asyncio.timeout(PATIENCE):
            body = await self._reader.readexactly(int(length or b"0"))
        return int(head.split()[1]), head.lower(), body

    async def rest(self) -> bytes:
        """Read until the server closes; what it sent before a reset counts."""
        found = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                while data := await self._reader.read(65536):
                    found += data
        return found

    def leave(self) -> None:
        """Close it without a word."""
        self.writer.close()


class Served:
    """A running host, and the connections that a test opened to it."""

    def __init__(self, host: Host, port: int) -> None:
        self.host = host
        self.port = port
        self._opened: list[Connection] = []

    async def connect(self, *pieces: bytes) -> Connection:
        """Open a connection and send these pieces."""
        connection = Connection(*await asyncio.open_connection("127.0.0.1", self.port))
        self._opened.append(connection)
        await connection.send(*pieces)
        return connection

    async def idle(self) -> None:
        """Wait until no call runs."""
        await eventually(lambda: not self.host.calls)

    async def close(self) -> None:
        """Close what is still open."""
        for connection in self._opened:
            connection.leave()
            with contextlib.suppress(ConnectionError):
                await connection.writer.wait_closed()
        await self.idle()


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until it holds; TimeoutError if that does not come."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 — nothing announces it
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def serving(
    folder: Path,
    *functions: Function,
    max_header_bytes: int = 65536,
    header_seconds: float = PATIENCE,
    keep_alive_seconds: float = PATIENCE,
    **server: Any,
) -> AsyncIterator[Served]:
    """Serve functions on a port of the system's choice."""
    application = application_of(folder, *functions, **server)
    protocol = guarded_protocol(max_header_bytes=max_header_bytes, header_seconds=header_seconds)
    config = uvicorn.Config(
        application, http=protocol, ws="none", lifespan="off", log_config=None, access_log=False
    )
    config.timeout_keep_alive = keep_alive_seconds  # type: ignore[assignment]
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(
        lambda: protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    served = Served(application.host, listening.sockets[0].getsockname()[1])
    try:
        yield served
    finally:
        await served.close()
        listening.close()
        await eventually(lambda: not state.connections and not state.tasks)


def request_bytes(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    """Write a request as it goes over the wire."""

    def lines() -> Iterator[str]:
        yield f"{method} {path} HTTP/1.1"
        yield "host: localhost"
        yield from headers
        if body:
            yield f"content-length: {len(body)}"

    return "\r\n".join((*lines(), "", "")).encode() + body
