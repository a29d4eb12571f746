"""The load generator, a process of its own: `Job` as JSON on stdin, `Outcome` as JSON on stdout.

Requests are bytes made beforehand and answers are parsed in C, so that it is never what limits.
It reads the clocks of the processes it loads itself, just before the first counted request and
just after the last, with nothing under way at either time.
"""

import asyncio
import os
import sys
import time
from typing import cast

import httptools
import msgspec

from tests.bench.machine import cpu_ns
from tests.fakes.program import run

HOST = "127.0.0.1"
OWN = "load"
"""The generator itself, among the watched."""


class Job(msgspec.Struct, frozen=True):
    """`requests` requests over `connections` connections that are opened beforehand."""

    port: int
    request: bytes
    connections: int
    requests: int
    warm_up: int = 0
    """Requests before those that count."""
    expect: bytes = b""
    """What every answer's body must hold."""
    events: int = 0
    """How many server-sent events every answer must have at least."""
    seconds: float = 60.0
    """Longest time for all of it."""
    watched: dict[str, tuple[int, ...]] = {}
    """Processes whose clocks are read, by name."""


class Outcome(msgspec.Struct, frozen=True):
    """How long the counted requests took, and the CPU time of each watched name."""

    seconds: float
    cpu_ns: dict[str, int]
    received: int
    """Bytes of bodies."""


class Client(asyncio.Protocol):
    """One connection, which asks again as soon as it is answered, while the phase has requests."""

    def __init__(self, phase: "Phase") -> None:
        self.phase = phase
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not registered as asyncio's, so isinstance() would deny it.
        self._transport = cast("asyncio.WriteTransport", transport)

    def ask(self) -> None:
        """Send the request."""
        self._transport.write(self.phase.job.request)

    def close(self) -> None:
        """Leave."""
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.phase.fail(f"the answer is malformed: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.phase.fail(f"the server closed a connection: {exc}")

    # httptools calls these two.
    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        body = b"".join(self._body)
        self._body.clear()
        if self.phase.accept(self._parser.get_status_code(), body):
            self.ask()


class Phase:
    """So many requests, from the first to the last answer."""

    def __init__(self, job: Job, count: int) -> None:
        self.job = job
        self.received = 0
        self._to_send = count - min(count, job.connections)
        self._open = count
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def play(self, clients: list[Client]) -> None:
        """Send all of it and wait for the last answer. Raises ValueError for a wrong one."""
        if not self._open:
            return
        for client in clients:
            client.phase = self
        for client in clients[: self._open]:
            client.ask()
        await self._over

    def accept(self, status: int, body: bytes) -> bool:
        """Check an answer; tell whether another request is to be sent."""
        job = self.job
        self.received += len(body)
        if status != 200 or job.expect not in body:
            self.fail(f"status {status}, {body[:300]!r}")
            return False
        if job.events and body.count(b"data:") < job.events:
            self.fail(f"{body.count(b'data:')} events came, expected {job.events}")
            return False
        self._open -= 1
        if not self._open and not self._over.done():
            self._over.set_result(None)
        if not self._to_send:
            return False
        self._to_send -= 1
        return True

    def fail(self, reason: str) -> None:
        """End the phase, unless it is over."""
        if not self._over.done():
            self._over.set_exception(ValueError(reason))


async def perform(job: Job) -> Outcome:
    """Do the job. Raises ValueError for a wrong answer, TimeoutError, OSError."""
    watched = {**job.watched, OWN: (os.getpid(),)}
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(job.seconds):
        warming, counted = Phase(job, job.warm_up), Phase(job, job.requests)
        clients: list[Client] = []
        try:
            for _ in range(job.connections):
                _, client = await loop.create_connection(lambda: Client(warming), HOST, job.port)
                clients.append(client)
            await warming.play(clients)
            before = {name: cpu_ns(pids) for name, pids in watched.items()}
            started = time.perf_counter()
            await counted.play(clients)
            seconds = time.perf_counter() - started
            used = {name: cpu_ns(pids) - before[name] for name, pids in watched.items()}
        finally:
            for client in clients:
                client.close()
    return Outcome(seconds, used, counted.received)


async def main() -> None:
    """Read the job, do it, write what came of it."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    try:
        outcome = await perform(job)
    except (ValueError, TimeoutError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    sys.stdout.buffer.write(msgspec.json.encode(outcome))


if __name__ == "__main__":
    run(main())
