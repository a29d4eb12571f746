"""Memory of the main process: idle, after ten thousand requests, and after as many again."""

import time

from tests.bench.asking import chat_body, run_load
from tests.bench.figures import Effort, Figure, Row
from tests.bench.load import Job
from tests.bench.machine import Memory, memory_of
from tests.bench.subjects import MODEL, REPLY, await_models, chat_request, openai_fake, portal
from tests.harness import PortalProcess

NAME = "memory"
BUDGET_MIB = 80.0
GROWTH_MIB = 1.0
"""What counts as no growth: allocators keep pages of their own."""
SETTLE_SECONDS = 1.0
CONNECTIONS = 16
STREAMED = 10
"""Every tenth request is streamed, since streams have clean-up of their own."""


def measure(effort: Effort) -> Row:
    """Read the memory between loads of one server."""
    count = effort.memory_requests
    with openai_fake() as fake, portal(fake) as server:
        fake.script(text=REPLY, instant=True)
        await_models(server, f"openai/{MODEL}")
        idle = settled(server)
        load(server, count)
        first = settled(server)
        load(server, count)
        second = settled(server)
    figures = [
        Figure("idle after the start, RSS", idle.rss, "MiB", BUDGET_MIB),
        *shared("idle after the start", idle),
        Figure(f"after {count} requests, RSS", first.rss, "MiB", BUDGET_MIB),
        *shared(f"after {count} requests", first),
        Figure(
            f"growth over a further {count} requests, RSS", second.rss - first.rss, "MiB",
            GROWTH_MIB,
        ),
    ]  # fmt: skip
    return Row(NAME, "Memory of the main process", tuple(figures))


def settled(server: PortalProcess) -> Memory:
    """Read the memory once connections have been closed on both sides."""
    time.sleep(SETTLE_SECONDS)
    return memory_of(server.pid)


def shared(when: str, memory: Memory) -> list[Figure]:
    """Tell what remains when pages shared with other programs are divided among them."""
    return [] if memory.pss is None else [Figure(f"{when}, PSS", memory.pss, "MiB")]


def load(server: PortalProcess, count: int) -> None:
    """Send so many requests, a part of them streamed."""
    streamed = count // STREAMED
    for stream, share in ((False, count - streamed), (True, streamed)):
        body = chat_body(f"openai/{MODEL}", stream=stream)
        run_load(
            Job(
                server.port,
                chat_request(server, body),
                CONNECTIONS,
                share,
                expect=b"[DONE]" if stream else REPLY.encode(),
                seconds=120,
            )
        )
