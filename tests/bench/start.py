"""From the command `portal up` to a server that says it is ready, without an embedded model."""

import time

from tests.bench.asking import Caller, request
from tests.bench.figures import BenchError, Effort, Row, median
from tests.bench.subjects import portal
from tests.fakes.running import HOST, START_SECONDS
from tests.harness import PortalProcess

NAME = "start"
BUDGET_MS = 1500.0
POLL_SECONDS = 0.005


def measure(effort: Effort) -> Row:
    """Start the same Portal several times; the first start only fills the system's caches."""
    samples = []
    with portal() as server:
        for _ in range(effort.starts):
            server.stop()
            started = time.perf_counter()
            server.start(ready=False)
            await_ready(server)
            samples.append((time.perf_counter() - started) * 1000)
    return Row(NAME, "`portal up` to ready", (median("until ready", samples, "ms", BUDGET_MS),))


def await_ready(server: PortalProcess) -> None:
    """Ask for readiness every few milliseconds. BenchError if it does not come."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.alive:
        try:
            with Caller(server.port) as caller:
                caller.send(request(server.port, "/health/ready"))
                caller.receive()
        except (OSError, BenchError):
            time.sleep(POLL_SECONDS)
        else:
            return
    raise BenchError(f"Portal on {HOST}:{server.port} did not get ready:\n{server.logs()[-800:]}")
