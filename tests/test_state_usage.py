"""Counted answers: none is lost while the database fails, none is counted twice."""

import asyncio
import sqlite3
import time
from pathlib import Path

from portal.runtime.ops import schema
from portal.runtime.state.copying import NAME
from portal.runtime.state.database import Database
from portal.runtime.state.usage import StoredUsage
from portal.shared.models import UsageRecord
from tests.state_here import open_database


def record(usage: StoredUsage, *, user: str = "ann", model: str = "m", tokens: int = 5) -> None:
    """Count an answer."""
    usage.record(UsageRecord(time.time(), user, "key", "b", model, tokens, 1, False))


def make(database: Database, seconds: float = 600.0) -> StoredUsage:
    """Make a log that writes when it is told to, unless `seconds` are short."""
    return StoredUsage(database, schema.State(usage_seconds=seconds))


async def test_answers_are_written_within_the_time_that_is_set(tmp_path: Path) -> None:
    async with open_database(tmp_path) as database, asyncio.timeout(20):
        usage = make(database, 0.01)
        await usage.start()
        record(usage)
        while not await database.read(  # noqa: ASYNC110
            lambda c: c.execute("SELECT count(*) FROM usage").fetchone()[0]
        ):
            await asyncio.sleep(0.005)
        await usage.stop()


async def test_what_waits_is_written_at_the_end_and_recalled_at_the_start(tmp_path: Path) -> None:
    async with open_database(tmp_path) as database:
        usage = make(database)
        await usage.start()
        for n in range(3):
            record(usage, model=f"m{n}")
        await usage.stop()
        again = make(database)
        await again.start()
        record(again, model="m3")

        assert [each.model for each in again.last(10)] == ["m3", "m2", "m1", "m0"]
        assert [each.answers for each in await again.sums("day", days=1)] == [4]
        await again.stop()


async def test_sums_are_of_each_user_and_of_each_model(tmp_path: Path) -> None:
    async with open_database(tmp_path) as database:
        usage = make(database)
        await usage.start()
        for user, model, tokens in (("ann", "x", 10), ("bob", "x", 1), ("ann", "y", 2)):
            record(usage, user=user, model=model, tokens=tokens)

        users = await usage.sums("user", days=30)
        models = await usage.sums("model", days=30)
        await usage.stop()

    assert [(s.user, s.answers, s.input_tokens) for s in users] == [("ann", 2, 12), ("bob", 1, 1)]
    assert [(s.model, s.answers, s.input_tokens) for s in models] == [("x", 2, 11), ("y", 1, 2)]


async def test_sums_at_once_count_each_answer_once(tmp_path: Path) -> None:
    async with open_database(tmp_path) as database:
        usage = make(database)
        await usage.start()
        for _ in range(50):
            record(usage)
        both = await asyncio.gather(*(usage.sums("day", days=1) for _ in range(8)))
        await usage.stop()

    assert {each.answers for (each,) in both} == {50}


async def test_answers_wait_in_memory_while_the_database_is_locked(tmp_path: Path) -> None:
    async with open_database(tmp_path, busy_seconds=0.05) as database, asyncio.timeout(20):
        usage = make(database, 0.01)
        await usage.start()
        other = sqlite3.connect(tmp_path / NAME, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        record(usage)
        while not database.problem:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        record(usage)
        other.execute("ROLLBACK")
        other.close()
        while database.problem:  # noqa: ASYNC110
            await asyncio.sleep(0.005)

        (found,) = await usage.sums("day", days=1)
        await usage.stop()

    assert found.answers == 2


async def test_what_a_backend_claims_breaks_no_sum(tmp_path: Path) -> None:
    async with open_database(tmp_path) as database:
        usage = make(database)
        await usage.start()
        for tokens in (10**30, -5, 2**63 - 1, 7):
            record(usage, tokens=tokens)
        (found,) = await usage.sums("day", days=1)
        await usage.stop()

    assert found.answers == 4
    assert found.input_tokens == 2 * 2**40 + 7
