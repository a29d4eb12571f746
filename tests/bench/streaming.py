"""Streams at the pace of real models: CPU per token, for the raw relay and for turns.

The pace matters: a backend that sends all it has at once lets a server take many tokens in one
read, which no model does.
"""

from tests.bench.asking import chat_body, run_load
from tests.bench.figures import Effort, Figure, Row, median
from tests.bench.load import Job
from tests.bench.subjects import (
    MODEL,
    OLLAMA_MODEL,
    Subject,
    await_models,
    bare_relay,
    chat_request,
    ollama_fake,
    openai_fake,
    portal,
)
from tests.fakes.fake import Fake

NAME = "streaming"
BUDGET_US = 60.0
STREAMS = 50
PACE_MS = 20
WARM_UP_TOKENS = 25
PATHS = {
    "raw relay": f"openai/{MODEL}",
    "turn on an openai backend": "auto-openai",
    "turn on an ollama backend": "auto-ollama",
}


def measure(effort: Effort) -> Row:
    """Stream 50 answers of 50 tokens a second each through every path, and a bare relay."""
    figures: list[Figure] = []
    with (
        openai_fake() as openai,
        ollama_fake() as ollama,
        portal(openai, ollama) as server,
        bare_relay(openai, chat_body(MODEL, stream=True)) as floor,
    ):
        await_models(server, f"openai/{MODEL}", f"ollama/{OLLAMA_MODEL}")
        for name, model in PATHS.items():
            asked = chat_request(server, chat_body(model, stream=True))
            subject = Subject(name, server.port, asked, (server.pid,))
            figures += costs(subject, (openai, ollama), effort, BUDGET_US)
        figures += costs(floor, (openai,), effort, None)
    return Row(NAME, f"Streaming, {STREAMS} streams of 50 tokens a second", tuple(figures))


def costs(
    subject: Subject, fakes: tuple[Fake, ...], effort: Effort, budget: float | None
) -> list[Figure]:
    """Stream through one path several times."""
    stream(subject, fakes, WARM_UP_TOKENS)
    rounds = [stream(subject, fakes, effort.stream_tokens) for _ in range(effort.stream_rounds)]
    return [
        median(f"CPU per token, {subject.name}", [cost for cost, _ in rounds], "µs", budget),
        median(f"tokens a second, {subject.name}", [rate for _, rate in rounds], "1/s"),
    ]


def stream(subject: Subject, fakes: tuple[Fake, ...], tokens: int) -> tuple[float, float]:
    """Run all streams once; the CPU µs per token, and the tokens a second."""
    words = [f" word{index % 10}" for index in range(tokens)]
    for fake in fakes:
        fake.reset()
        fake.script(tokens=words, interval_ms=PACE_MS)
    outcome = run_load(
        Job(
            subject.port,
            subject.request,
            STREAMS,
            STREAMS,
            expect=b"[DONE]",
            events=tokens,
            seconds=tokens * PACE_MS / 1000 * 3 + 30,
            watched={subject.name: subject.pids},
        )
    )
    count = STREAMS * tokens
    return outcome.cpu_ns[subject.name] / count / 1000, count / outcome.seconds
