"""A relay that only copies bytes between two sockets: what the machine itself charges for one.

    python -m tests.bench.floor --port 21010 --upstream 21000

No gateway on the same event loop can cost less, and on a virtual machine most of it is the
system's price of sending, which differs several times over from one machine to the next.
"""

import argparse
import asyncio
from collections import deque
from typing import cast

from tests.bench.load import HOST
from tests.fakes.program import run, until_signalled


class End(asyncio.Protocol):
    """One end of a pair of connections: what it receives, the other end sends."""

    def __init__(self) -> None:
        self.other: End | None = None
        self._transport: asyncio.Transport | None = None
        self._early: deque[bytes] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        else:
            self.other.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None:
            self.other.close()

    def join(self, other: "End") -> None:
        """Pair this end with another, which gets what has come already."""
        self.other, other.other = other, self
        while self._early:
            other.write(self._early.popleft())

    def write(self, data: bytes) -> None:
        """Send."""
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """Close after what was sent."""
        if self._transport is not None:
            self._transport.close()


async def main(port: int, upstream: int) -> None:
    """Serve until SIGTERM."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def connect(end: End) -> None:
        _, other = await loop.create_connection(End, HOST, upstream)
        end.join(other)

    def accept() -> End:
        end = End()
        task = loop.create_task(connect(end))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return end

    server = await loop.create_server(accept, HOST, port, backlog=256)
    async with server:
        await until_signalled()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", type=int, required=True)
    options = parser.parse_args()
    run(main(options.port, options.upstream))
