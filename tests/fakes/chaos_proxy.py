"""A TCP proxy that harms what passes: between Portal and a backend, knowing nothing of HTTP.

    python -m tests.fakes.chaos_proxy --port 21002 --control-port 21003 --upstream 127.0.0.1:21000

| request to the control port | does |
|---|---|
| `POST /__fake/script` | puts a `Chaos` in force for connections to come, or for `times` of them |
| `GET /__fake/requests` | every connection so far: bytes each way, how it ended |
| `GET /__fake/wait?event=&count=&timeout=` | answers when it happened so often, or 408 |
| `POST /__fake/reset` | forgets all, passes everything, closes connections |
| `POST /__fake/die` | ends the process at once |

Events: `connection` (accepted), `closed` (both sides gone). `up` is from the client to the
backend, `down` the way back; bytes count per connection and direction, from 0.
"""

import argparse
import asyncio
import contextlib
import json
import os
from typing import Any

import msgspec

from tests.fakes.program import die, run, until_signalled
from tests.fakes.serving import HOST, Connection, Exchange, Work, force_reset, listen

READ = 65536
PREFIX = "/__fake/"


class Way(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happens to the bytes of one direction."""

    cut_after: int | None = None
    """Both sides are closed after this many bytes."""
    stall_after: int | None = None
    """Nothing passes any more after this many bytes; they are swallowed."""
    corrupt_at: int | None = None
    """This byte has all its bits turned."""
    slice: int | None = None
    """Bytes are passed on in pieces of this size, each in a packet of its own."""
    delay_ms: float = 0
    """Pause before each piece."""


class Chaos(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happens to a connection; by default it just passes."""

    up: Way = Way()
    down: Way = Way()
    refuse: bool = False
    """Nobody listens until the next script or reset: connecting is refused by the system."""
    drop: bool = False
    """Accepted and closed at once, the backend never asked."""
    reset: bool = False
    """Cuts are resets (RST) instead of orderly closes."""
    times: int | None = None
    """For how many connections; None: until the next script without `times`, or a reset."""


class Passage(msgspec.Struct):
    """One connection through the proxy."""

    id: int
    up: int = 0
    down: int = 0
    state: str = "open"
    """`open`, `closed` (by a side), `cut` or `dropped` (by the script)."""


class ChaosProxy:
    """The listening socket, the scripts in force and the connections so far."""

    def __init__(self, port: int, upstream: tuple[str, int]) -> None:
        self._port = port
        self._upstream = upstream
        self._server: asyncio.Server | None = None
        self._standing = Chaos()
        self._counted: list[list[Any]] = []
        self._passages: list[Passage] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._pulse = asyncio.Event()

    async def open(self) -> None:
        """Listen, if it does not yet."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, HOST, self._port)

    async def direct(self, chaos: Chaos) -> None:
        """Put a script in force."""
        if chaos.refuse:
            if self._server is not None:
                self._server.close()
                self._server = None
            return
        if chaos.times is None:
            self._standing = chaos
        else:
            self._counted.append([chaos, chaos.times])
        await self.open()

    async def reset(self) -> None:
        """Forget everything and close what is open."""
        self._standing, self._counted = Chaos(), []
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._passages.clear()
        await self.open()

    def passages(self) -> list[dict[str, Any]]:
        """List the connections so far."""
        return [msgspec.structs.asdict(passage) for passage in self._passages]

    async def wait(self, event: str, count: int, timeout: float) -> tuple[bool, int]:
        """Wait until an event was seen so often; whether it was, and how often."""
        if event not in {"connection", "closed"}:
            raise ValueError(f"event is {event!r}; it may be connection, closed")

        def seen() -> int:
            return sum(event == "connection" or p.state != "open" for p in self._passages)

        try:
            async with asyncio.timeout(timeout):
                while seen() < count:
                    await self._pulse.wait()
        except TimeoutError:
            return False, seen()
        return True, seen()

    def _next(self) -> Chaos:
        if not self._counted:
            return self._standing
        entry = self._counted[0]
        entry[1] -= 1
        if entry[1] <= 0:
            self._counted.pop(0)
        chaos: Chaos = entry[0]
        return chaos

    def _notify(self) -> None:
        self._pulse.set()
        self._pulse = asyncio.Event()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        passage = Passage(len(self._passages) + 1)
        self._passages.append(passage)
        self._notify()
        chaos = self._next()
        try:
            await self._carry(reader, writer, chaos, passage)
        except asyncio.CancelledError:
            pass  # a reset of the proxy: the task ends here, and asyncio's server wants no error
        finally:
            if chaos.reset and passage.state in {"cut", "dropped"}:
                force_reset(writer.transport)
            writer.close()
            if passage.state == "open":
                passage.state = "closed"
            self._tasks.discard(task)
            self._notify()

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        chaos: Chaos,
        passage: Passage,
    ) -> None:
        if chaos.drop:
            passage.state = "dropped"
            return
        try:
            back_reader, back_writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            return
        try:
            ways = (
                asyncio.create_task(pump(reader, back_writer, chaos.up, passage, "up")),
                asyncio.create_task(pump(back_reader, writer, chaos.down, passage, "down")),
            )
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        finally:
            if chaos.reset and passage.state == "cut":
                force_reset(back_writer.transport)
            back_writer.close()


async def pump(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    way: Way,
    passage: Passage,
    direction: str,
) -> None:
    """Carry bytes one way until a side ends or the script cuts."""
    passed = 0
    with contextlib.suppress(OSError):
        while data := await reader.read(READ):
            if way.corrupt_at is not None and passed <= way.corrupt_at < passed + len(data):
                data = corrupted(data, way.corrupt_at - passed)
            end = passed + len(data)
            limit = min(
                end if way.cut_after is None else way.cut_after,
                end if way.stall_after is None else way.stall_after,
            )
            allowed = data[: max(0, limit - passed)]
            size = way.slice or len(allowed) or 1
            for at in range(0, len(allowed), size):
                if way.delay_ms:
                    await asyncio.sleep(way.delay_ms / 1000)
                writer.write(allowed[at : at + size])
                await writer.drain()
                await asyncio.sleep(0)
            passed += len(allowed)
            setattr(passage, direction, passed)
            if way.cut_after is not None and passed >= way.cut_after:
                passage.state = "cut"
                return


def corrupted(data: bytes, at: int) -> bytes:
    """Turn all bits of one byte."""
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


class ControlPort:
    """The proxy's second port, in the manner of the fakes."""

    def __init__(self, proxy: ChaosProxy) -> None:
        self._proxy = proxy

    def __call__(self, exchange: Exchange) -> Work | None:
        return self._control(exchange)

    async def _control(self, exchange: Exchange) -> None:
        try:
            status, result = await self._direct(exchange)
        except (msgspec.MsgspecError, ValueError) as error:
            status, result = 400, {"error": str(error)}
        headers = [("Content-Type", "application/json")]
        await exchange.reply(status, headers, json.dumps(result).encode())

    async def _direct(self, exchange: Exchange) -> tuple[int, Any]:
        match exchange.method, exchange.path.removeprefix(PREFIX):
            case "GET", "requests":
                listed = self._proxy.passages()
                return 200, {"fake": "chaos", "pid": os.getpid(), "requests": listed}
            case "GET", "wait":
                query = exchange.query
                event = query.get("event", "connection")
                wanted, timeout = int(query.get("count", "1")), float(query.get("timeout", "5"))
                reached, count = await self._proxy.wait(event, wanted, timeout)
                return 200 if reached else 408, {"event": event, "count": count}
            case "POST", "script":
                await self._proxy.direct(msgspec.json.decode(exchange.body, type=Chaos))
            case "POST", "reset":
                await self._proxy.reset()
            case "POST", "die":
                die()
            case _:
                return 404, {"error": f"{exchange.method} {exchange.path}: no such control"}
        return 200, {"ok": True}


async def serve(port: int, control_port: int, upstream: tuple[str, int]) -> None:
    """Run the proxy and its control port until SIGTERM."""
    proxy = ChaosProxy(port, upstream)
    await proxy.open()
    live: set[Connection] = set()
    await listen(ControlPort(proxy), control_port, live)
    await until_signalled()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--control-port", type=int, required=True)
    parser.add_argument("--upstream", required=True, help="host:port of the backend")
    options = parser.parse_args()
    host, _, number = options.upstream.rpartition(":")
    run(serve(options.port, options.control_port, (host, int(number))))


if __name__ == "__main__":
    main()
