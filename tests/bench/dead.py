"""The pages that must answer whatever the backends do, while every backend is dead.

One refuses connections, one accepts and never answers, one lets nobody connect: what a program
that is not started, one that hangs, and a machine that is switched off look like.
"""

import contextlib
import socket
import statistics
from collections.abc import Iterator

from tests.bench.asking import Caller, request
from tests.bench.figures import Effort, Figure, Row, percentile
from tests.bench.subjects import KEY, portal
from tests.fakes.running import HOST, free_port

NAME = "dead"
BUDGET_MS = 10.0
PAGES = ("/health", "/health/ready", "/v1/models")
FILLERS = 4
"""Connections that fill a queue of none, so that the system drops the next one's packets."""


def measure(effort: Effort) -> Row:
    """Ask each page while discovery is busy failing."""
    figures: list[Figure] = []
    with stalling() as stalled, unreachable() as dropped:
        urls = {"refusing": free_port(), "stalling": stalled, "unreachable": dropped}
        backends = [
            {"name": name, "kind": kind, "url": f"http://{HOST}:{port}"}
            for (name, port), kind in zip(urls.items(), ("ollama", "openai", "openai"), strict=True)
        ]
        # A short interval keeps the probes of all three under way during the whole measurement.
        quick = {"discover_seconds": 0.1}
        with (
            portal(*backends, server=quick, workspaces={}) as server,
            Caller(server.port) as caller,
        ):
            asked = [request(server.port, page, key=KEY) for page in PAGES]
            samples: list[list[float]] = [[] for _ in PAGES]
            for index in range(effort.warm_up // 10 + effort.probes):
                for times, each in zip(samples, asked, strict=True):
                    took = caller.timed(each)
                    if index >= effort.warm_up // 10:
                        times.append(took)
    for page, times in zip(PAGES, samples, strict=True):
        figures.append(Figure(f"{page}, p50", statistics.median(times), "ms"))
        figures.append(Figure(f"{page}, p99", percentile(times, 0.99), "ms", BUDGET_MS))
    title = "Every backend dead: one refusing, one stalling, one unreachable"
    return Row(NAME, title, tuple(figures))


@contextlib.contextmanager
def stalling() -> Iterator[int]:
    """Listen, let the system accept, and never read: the port."""
    with listening(128) as port:
        yield port


@contextlib.contextmanager
def unreachable() -> Iterator[int]:
    """Listen with a full queue, so that connecting neither succeeds nor fails: the port."""
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(listening(0))
        for _ in range(FILLERS):
            filler = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            filler.setblocking(False)
            filler.connect_ex((HOST, port))
        yield port


@contextlib.contextmanager
def listening(queue: int) -> Iterator[int]:
    """Hold a listening socket that nobody serves."""
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((HOST, port))
        listener.listen(queue)
        yield port
