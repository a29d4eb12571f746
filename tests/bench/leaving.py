"""A client leaves: how long until the backend sees its connection closed and can stop working."""

import statistics
import time

from tests.bench.asking import Caller, chat_body, request
from tests.bench.figures import Effort, Figure, Row, percentile
from tests.bench.subjects import (
    MODEL,
    OLLAMA_MODEL,
    await_models,
    chat_request,
    ollama_fake,
    openai_fake,
    portal,
)
from tests.fakes.fake import Fake
from tests.harness import PortalProcess

NAME = "leaving"
BUDGET_MS = 100.0
PAUSES = (0.0, 0.01, 0.05)
"""Seconds between the backend's having the request and the leaving, in turn."""
WARM_UP = 3
PACE_MS = 20


def measure(effort: Effort) -> Row:
    """Leave streams and whole answers, of the raw relay and of a turn."""
    figures: list[Figure] = []
    with openai_fake() as openai, ollama_fake() as ollama, portal(openai, ollama) as server:
        await_models(server, f"openai/{MODEL}", f"ollama/{OLLAMA_MODEL}")
        for name, fake, model in (
            ("raw", openai, f"openai/{MODEL}"),
            ("turn on ollama", ollama, "auto-ollama"),
        ):
            for stream in (True, False):
                times = leave(server, fake, model, stream=stream, count=effort.leavings)
                sort = f"{name}, {'streamed' if stream else 'not streamed'}"
                figures += [
                    Figure(f"{sort}, p50", statistics.median(times), "ms"),
                    Figure(f"{sort}, p99", percentile(times, 0.99), "ms", BUDGET_MS),
                    Figure(f"{sort}, max", max(times), "ms", BUDGET_MS),
                ]
    note = "Timed until the backend reported the close, so a request to it is included."
    return Row(NAME, "A client leaves, until the backend sees it", tuple(figures), note)


def leave(
    server: PortalProcess, fake: Fake, model: str, *, stream: bool, count: int
) -> list[float]:
    """Ask and leave so often; milliseconds from each leaving to the backend's seeing it."""
    fake.reset()
    if stream:
        fake.script(tokens=[f" word{index}" for index in range(3000)], interval_ms=PACE_MS)
    else:
        fake.script(hang=True)
    asked = chat_request(server, chat_body(model, stream=stream))
    times = []
    with Caller(fake.port) as witness:
        for index in range(WARM_UP + count):
            with Caller(server.port) as caller:
                caller.send(asked)
                witness.send(report(fake, "request", index + 1))
                witness.receive()
                if stream:
                    caller.receive_some()
                time.sleep(PAUSES[index % len(PAUSES)])
                witness.send(report(fake, "closed", index + 1))
                started = time.perf_counter()
            witness.receive()
            if index >= WARM_UP:
                times.append((time.perf_counter() - started) * 1000)
    return times


def report(fake: Fake, event: str, count: int) -> bytes:
    """Word the question that the fake answers as soon as it saw an event so often."""
    return request(fake.port, f"/__fake/wait?event={event}&count={count}&timeout=10")
