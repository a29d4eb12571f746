"""Counted answers, kept: written in batches that never make the disk wait, summed by day."""

import asyncio
import contextlib
import sqlite3
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from portal.runtime.ops import schema
from portal.runtime.routing.usage import UsageRing
from portal.runtime.state.database import Database
from portal.runtime.state.rows import to_text, to_time
from portal.shared.errors import StateUnavailable
from portal.shared.models import UsageGroup, UsageRecord, UsageSum

RECALLED = 1000
"""Answers that are read back at the start, for the list of the last ones."""
MOST_WAITING = 100_000
"""Answers that wait while the database cannot be written; then the oldest are lost."""

MOST_TOKENS = 2**40
"""Of one answer; a backend may claim anything."""

GROUPS: dict[UsageGroup, tuple[str, ...]] = {
    "day": ("day",),
    "user": ("user", "key"),
    "model": ("backend", "model"),
}


class StoredUsage(UsageRing):
    """The ring in memory, and behind it the database. Implements the UsageLog port."""

    def __init__(self, database: Database, settings: schema.State) -> None:
        super().__init__()
        self._database = database
        self._seconds = settings.usage_seconds
        self._days = settings.usage_days
        self._waiting: deque[UsageRecord] = deque(maxlen=MOST_WAITING)
        self._something = asyncio.Event()
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def record(self, record: UsageRecord) -> None:
        super().record(record)
        self._waiting.append(record)
        self._something.set()

    async def start(self) -> None:
        """Recall the last answers, and write new ones from now on."""
        with contextlib.suppress(StateUnavailable):
            recalled = await self._database.read(_last)
            self._records.extendleft(recalled)
        self._task = asyncio.create_task(self._write_now_and_then(), name="usage")

    async def stop(self) -> None:
        """Write what waits."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(StateUnavailable):
            await self._flush()

    async def sums(self, by: UsageGroup, *, days: int) -> Sequence[UsageSum]:
        await self._flush()
        first = (datetime.now(UTC) - timedelta(days=days - 1)).date().isoformat()
        return await self._database.read(lambda connection: _sums(connection, by, first))

    async def _write_now_and_then(self) -> None:
        while True:
            await self._something.wait()
            await asyncio.sleep(self._seconds)
            with contextlib.suppress(StateUnavailable):
                await self._flush()

    async def _flush(self) -> None:
        # One at a time, so that none is written twice.
        async with self._writing:
            self._something.clear()
            batch = tuple(self._waiting)
            if not batch:
                return
            oldest = to_text(datetime.now(UTC) - timedelta(days=self._days))
            try:
                await self._database.write(
                    lambda connection: _insert(connection, batch, oldest), durable=False
                )
            except StateUnavailable:
                self._something.set()
                raise
            for _ in range(len(batch)):
                self._waiting.popleft()


def _insert(connection: sqlite3.Connection, batch: Sequence[UsageRecord], oldest: str) -> None:
    rows: list[tuple[str | int, ...]] = []
    for each in batch:
        at = to_text(datetime.fromtimestamp(each.at, UTC))
        who = (each.user, each.key, each.backend, each.model)
        tokens = (_counted(each.input_tokens), _counted(each.output_tokens))
        rows.append((at, *who, *tokens, each.estimated))
    connection.executemany(
        "INSERT INTO usage (at, user, key, backend, model, input_tokens, output_tokens, estimated)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    connection.executemany(
        "INSERT INTO usage_days VALUES (substr(?, 1, 10), ?, ?, ?, ?, 1, ?, ?) "
        "ON CONFLICT DO UPDATE SET answers = answers + 1, "
        "input_tokens = input_tokens + excluded.input_tokens, "
        "output_tokens = output_tokens + excluded.output_tokens",
        [row[:-1] for row in rows],
    )
    connection.execute("DELETE FROM usage WHERE at < ?", (oldest,))


def _counted(tokens: int) -> int:
    """Keep what a backend claims within what sums can hold."""
    return min(max(tokens, 0), MOST_TOKENS)


def _last(connection: sqlite3.Connection) -> list[UsageRecord]:
    """Read the newest answers, newest first."""
    rows = connection.execute(
        "SELECT at, user, key, backend, model, input_tokens, output_tokens, estimated "
        "FROM usage ORDER BY seq DESC LIMIT ?",
        (RECALLED,),
    )
    return [
        UsageRecord(to_time(at).timestamp(), user, key, backend, model, given, made, bool(guessed))
        for at, user, key, backend, model, given, made, guessed in rows
    ]


def _sums(connection: sqlite3.Connection, by: UsageGroup, first: str) -> list[UsageSum]:
    names = GROUPS[by]
    columns = ", ".join(names)
    order = "day DESC" if by == "day" else "sum(input_tokens + output_tokens) DESC"
    rows = connection.execute(
        f"SELECT sum(answers), sum(input_tokens), sum(output_tokens), {columns} FROM usage_days "
        f"WHERE day >= ? GROUP BY {columns} ORDER BY {order}, {columns}",
        (first,),
    )
    return [
        UsageSum(answers, given, made, **dict(zip(names, values, strict=True)))
        for answers, given, made, *values in rows
    ]
