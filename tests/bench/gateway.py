"""A non-streamed chat through the gateway: CPU per request, and the latency that is added.

The CPU time is the server process's own clock over thousands of requests, so other programs on
the machine change it little; wall time is never used for it. A relay that only copies bytes is
loaded in turn with it and shows what of the figure is this machine's own price of networking.
"""

import statistics
from collections.abc import Sequence

import msgspec

from tests.bench.asking import Caller, chat_body, request, run_load
from tests.bench.figures import Effort, Figure, Row, median, percentile
from tests.bench.load import OWN, Job
from tests.bench.subjects import (
    CHAT,
    MODEL,
    REPLY,
    Subject,
    await_models,
    bare_relay,
    chat_request,
    openai_fake,
    portal,
)
from tests.fakes.fake import Fake

NAME = "gateway"
CPU_BUDGET_US = 250.0
LATENCY_BUDGET_MS = 0.4
CONCURRENCY = (1, 16, 64)
SECONDS = 120.0


class Samples(msgspec.Struct):
    """CPU µs per request of the repetitions: the gateway's, and the load generator's own."""

    gateway: list[float]
    load: list[float]
    rates: list[float]
    """Requests a second of wall time."""


def measure(effort: Effort) -> Row:
    """Load Portal in front of an instant backend, and a bare relay in turn with it."""
    figures: list[Figure] = []
    with (
        openai_fake() as fake,
        portal(fake) as server,
        bare_relay(fake, chat_body(MODEL)) as floor,
    ):
        fake.script(text=REPLY, instant=True)
        await_models(server, f"openai/{MODEL}")
        asked = chat_request(server, chat_body(f"openai/{MODEL}"))
        subject = Subject("Portal", server.port, asked, (server.pid,))
        for connections in CONCURRENCY:
            samples, least = Samples([], [], []), Samples([], [], [])
            for _ in range(effort.rounds):
                take(samples, subject, connections, effort.requests, effort.warm_up)
                take(least, floor, connections, effort.requests, effort.warm_up)
            figures += worded(samples, connections, CPU_BUDGET_US)
            bare = f"CPU per request of {floor.name}, {connections} at once"
            figures.append(median(bare, least.gateway, "µs"))
        figures += latency(fake, [subject, floor], effort, LATENCY_BUDGET_MS)
    return Row(NAME, "Non-streamed chat through the gateway, 1 KB, static key", tuple(figures))


def take(samples: Samples, subject: Subject, connections: int, requests: int, warm_up: int) -> None:
    """Load a subject once and add what it cost."""
    outcome = run_load(
        Job(
            subject.port,
            subject.request,
            connections,
            requests,
            warm_up=warm_up,
            expect=REPLY.encode(),
            seconds=SECONDS,
            watched={subject.name: subject.pids},
        )
    )
    samples.gateway.append(outcome.cpu_ns[subject.name] / requests / 1000)
    samples.load.append(outcome.cpu_ns[OWN] / requests / 1000)
    samples.rates.append(requests / outcome.seconds)


def worded(samples: Samples, connections: int, budget: float | None) -> list[Figure]:
    """Name the figures of one level of concurrency."""
    at = f"{connections} at once"
    cpu = median(f"CPU per request, {at}", samples.gateway, "µs", budget)
    return [
        cpu,
        Figure(f"requests a second of a core's time, {at}", 1e6 / cpu.value, "1/s"),
        median(f"requests a second, the core shared, {at}", samples.rates, "1/s"),
        median(f"CPU per request of the load generator, {at}", samples.load, "µs"),
    ]


def latency(
    fake: Fake, subjects: Sequence[Subject], effort: Effort, budget: float | None
) -> list[Figure]:
    """Ask the backend itself and each subject in turn, one client each, and compare the pairs.

    The budget is the first subject's.
    """
    direct = request(fake.port, CHAT, chat_body(MODEL))
    callers = [Caller(subject.port) for subject in subjects]
    try:
        with Caller(fake.port) as backend:
            base: list[float] = []
            added: list[list[float]] = [[] for _ in subjects]
            for index in range(effort.warm_up // 2 + effort.pairs):
                alone = backend.timed(direct)
                through = [
                    caller.timed(subject.request)
                    for caller, subject in zip(callers, subjects, strict=True)
                ]
                if index >= effort.warm_up // 2:
                    base.append(alone)
                    for samples, each in zip(added, through, strict=True):
                        samples.append(each - alone)
    finally:
        for caller in callers:
            caller.close()
    figures = [Figure("latency of the backend itself, one client, p50", statistics.median(base),
                      "ms")]  # fmt: skip
    for position, (subject, samples) in enumerate(zip(subjects, added, strict=True)):
        limit = budget if position == 0 else None
        name = f"latency added by {subject.name}, one client"
        figures.append(Figure(f"{name}, p50", statistics.median(samples), "ms", limit))
        figures.append(Figure(f"{name}, p99", percentile(samples, 0.99), "ms"))
    return figures
