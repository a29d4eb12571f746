"""What Portal remembers, measured at size: lists, searches, and how fast a message is durable."""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from portal.runtime.ops import schema
from portal.runtime.state.conversations import ConversationStore
from portal.runtime.state.database import Database
from portal.shared.conversations import NewMessage
from tests.bench import state_data
from tests.bench.figures import Effort, Figure, Row, median, percentile
from tests.bench.state_data import COMMON, MIDDLE, RARE, USER

NAME = "state"
LIST_MS = 2.0
SEARCH_MS = 50.0
ACKNOWLEDGED_MS = 20.0
WRITERS = 64
TIMES = 40
"""Questions of each sort, of which the median counts."""
QUICK_SHARE = 10
FOLDER = "PORTAL_BENCH_STATE"
"""Environment variable that names a folder made by `tests.bench.state_data`, to save that time."""


def measure(effort: Effort) -> Row:
    """Measure on a database of 100,000 conversations and a million messages; quick: a tenth."""
    share = 1 if effort.rounds >= Effort().rounds else QUICK_SHARE
    conversations, messages = state_data.CONVERSATIONS // share, state_data.MESSAGES // share
    given = os.environ.get(FOLDER)
    with tempfile.TemporaryDirectory(prefix="portal-bench-state-") as temporary:
        folder = Path(given or temporary)
        if given is None:
            asyncio.run(state_data.generate(folder, conversations, messages))
        figures = asyncio.run(_measure(folder, effort))
    note = f"{conversations:,} conversations, {messages:,} messages" if given is None else given
    return Row(NAME, "State", tuple(figures), note=f"{note}; times of a caller, one at a time.")


async def _measure(folder: Path, effort: Effort) -> list[Figure]:
    database = Database(folder, schema.State())
    await database.start()
    store = ConversationStore(database, search_matches=schema.State().search_matches)
    try:
        newest = await store.list(USER)
        middle = newest
        for _ in range(20):
            middle = await store.list(USER, limit=200, cursor=middle.next_cursor)
        one = newest.data[0].id
        asked: dict[str, tuple[Callable[[], Awaitable[object]], float]] = {
            "list 50": (lambda: store.list(USER), LIST_MS),
            "list 50, far down": (
                lambda: store.list(USER, cursor=middle.next_cursor),
                LIST_MS,
            ),
            "search, a rare word": (lambda: store.search(USER, RARE), SEARCH_MS),
            "search, a word of 2 %": (lambda: store.search(USER, MIDDLE), SEARCH_MS),
            "search, a word of 33 %": (lambda: store.search(USER, COMMON), SEARCH_MS),
            "search, two words": (lambda: store.search(USER, f"{COMMON} {MIDDLE}"), SEARCH_MS),
            "search, two words never together": (
                lambda: store.search(USER, f"{COMMON} {RARE} nowhere"),
                SEARCH_MS,
            ),
            "read 50 messages": (lambda: store.messages(USER, one), LIST_MS),
        }
        figures = []
        for name, (ask, budget) in asked.items():
            await ask()
            samples = [await _milliseconds(ask) for _ in range(TIMES)]
            figures.append(median(name, samples, "ms", budget))
        figures += await _writing(store, effort)
    finally:
        await database.close()
    return figures


async def _writing(store: ConversationStore, effort: Effort) -> list[Figure]:
    made = [await store.create(USER) for _ in range(WRITERS)]
    alone: list[float] = []
    together: list[float] = []

    async def write(number: int, times: int, samples: list[float]) -> None:
        for turn in range(times):
            message = NewMessage("user", f"What about {number} and {turn}? " * 5)
            add = partial(store.add, USER, made[number].id, [message])
            samples.append(await _milliseconds(add))

    await write(0, effort.probes, alone)
    started = time.perf_counter()
    each = max(1, effort.requests // WRITERS)
    await asyncio.gather(*(write(number, each, together) for number in range(WRITERS)))
    rate = len(together) / (time.perf_counter() - started)
    for conversation in made:
        await store.delete(USER, conversation.id)
    return [
        Figure("a message durable, one writer, p50", percentile(alone, 0.5), "ms"),
        Figure("the same, p99", percentile(alone, 0.99), "ms", ACKNOWLEDGED_MS),
        Figure(f"{WRITERS} writers, p50", percentile(together, 0.5), "ms"),
        Figure("the same, p99", percentile(together, 0.99), "ms"),
        Figure("durable messages", rate, "/s"),
    ]


async def _milliseconds(ask: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await ask()
    return (time.perf_counter() - started) * 1000
