"""The database: commits in groups, failures told and survived, nothing acknowledged in vain."""

import asyncio
import os
import sqlite3
import threading
from pathlib import Path

import pytest

from portal.runtime.state import migrations
from portal.runtime.state.connection import open_writer
from portal.runtime.state.copying import COPIES, NAME
from portal.runtime.state.writer import Broken, commit
from portal.shared.errors import NotFound, StateUnavailable
from tests.state_here import open_database, open_store, said

TABLE = "CREATE TABLE IF NOT EXISTS things (name TEXT UNIQUE) STRICT"


def _put(name: str):  # type: ignore[no-untyped-def]
    def work(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT INTO things VALUES (?)", (name,))
        return name

    return work


def _names(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM things ORDER BY rowid")]


@pytest.fixture
def connection(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A connection that writes, with a table to write to."""
    opened = open_writer(tmp_path / "some.db", 0.1)
    opened.execute(TABLE)
    yield opened
    opened.close()


def test_a_work_that_fails_is_undone_alone(connection: sqlite3.Connection) -> None:
    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO things VALUES ('half')")
        raise NotFound("the other half")

    first, failed, last = commit(connection, [_put("a"), half, _put("b")])

    assert (first, last) == ("a", "b")
    assert isinstance(failed, Broken)
    assert isinstance(failed.error, NotFound)
    assert _names(connection) == ["a", "b"]


def test_a_work_against_a_constraint_is_undone_alone(connection: sqlite3.Connection) -> None:
    results = commit(connection, [_put("a"), _put("a"), _put("b")])

    assert isinstance(results[1], Broken)
    assert _names(connection) == ["a", "b"]


def test_a_work_too_large_for_the_disk_fails_alone(connection: sqlite3.Connection) -> None:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 8}")

    results = commit(connection, [_put("a"), _put("x" * 1_000_000), _put("b")])

    assert isinstance(results[1], Broken)
    assert _names(connection) == ["a", "b"]


def test_one_group_is_one_commit(connection: sqlite3.Connection) -> None:
    statements: list[str] = []
    connection.set_trace_callback(statements.append)

    commit(connection, [_put(str(n)) for n in range(50)])

    assert statements.count("COMMIT") == 1
    assert len(_names(connection)) == 50


async def test_writers_at_once_share_commits_and_each_gets_its_own_answer(tmp_path: Path) -> None:
    statements: list[str] = []
    async with open_database(tmp_path, trace=statements.append) as database:
        await database.write(lambda connection: connection.execute(TABLE) and None)
        statements.clear()

        given = await asyncio.gather(*(database.write(_put(str(n))) for n in range(64)))

    assert given == [str(n) for n in range(64)]
    assert 1 <= statements.count("COMMIT") <= 2


async def test_a_commit_waits_for_the_disk_and_one_of_usage_does_not(tmp_path: Path) -> None:
    def level(connection: sqlite3.Connection) -> int:
        found: int = connection.execute("PRAGMA synchronous").fetchone()[0]
        return found

    full, normal = 2, 1
    async with open_database(tmp_path) as database:
        assert await database.write(level) == full
        assert await database.write(level, durable=False) == normal
        both = await asyncio.gather(database.write(level, durable=False), database.write(level))

    assert set(both) == {full}


async def test_what_a_caller_queued_is_written_though_it_left(tmp_path: Path) -> None:
    async with open_database(tmp_path) as database:
        await database.write(lambda connection: connection.execute(TABLE) and None)
        task = asyncio.create_task(database.write(_put("kept")))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        await database.write(_put("later"))
        assert await database.read(_names) == ["kept", "later"]


async def test_what_is_queued_at_the_end_is_written(tmp_path: Path) -> None:
    async with open_database(tmp_path) as database:
        await database.write(lambda connection: connection.execute(TABLE) and None)
        writing = [asyncio.create_task(database.write(_put(str(n)))) for n in range(3000)]
        await asyncio.sleep(0)

    assert await asyncio.gather(*writing) == [str(n) for n in range(3000)]
    with sqlite3.connect(tmp_path / NAME) as connection:
        assert len(_names(connection)) == 3000
    connection.close()


async def test_a_closed_database_has_no_thread_and_no_log_left(tmp_path: Path) -> None:
    async with open_database(tmp_path) as database:
        await database.write(lambda connection: connection.execute(TABLE) and None)

    threads = [each for each in threading.enumerate() if "connection_worker" in each.name]
    for thread in threads:
        thread.join(10)  # the last one may be about to end
        assert not thread.is_alive()
    assert os.listdir(tmp_path) == [NAME]  # noqa: PTH208
    with pytest.raises(StateUnavailable, match="closed"):
        await database.read(_names)


async def test_a_reader_cannot_write(tmp_path: Path) -> None:
    async with open_database(tmp_path) as database:
        with pytest.raises(StateUnavailable, match="read-only"):
            await database.read(lambda c: c.execute("DELETE FROM users").fetchall())


async def test_the_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    state = tmp_path / "new" / "state"
    async with open_database(state) as database:
        await database.write(lambda connection: connection.execute(TABLE) and None)
        modes = {each.name: each.stat().st_mode & 0o777 for each in state.iterdir()}

    assert set(modes.values()) == {0o600}, modes
    assert f"{NAME}-wal" in modes


async def test_a_full_disk_stores_nothing_and_recovers_by_itself(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store, asyncio.timeout(20):
        database = store._database
        made = await store.create("ann", messages=[said("One")])
        pages = await database.read(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
        await database.write(lambda c: c.execute(f"PRAGMA max_page_count = {pages + 4}").fetchall())

        with pytest.raises(StateUnavailable, match="disk is full"):
            await store.add("ann", made.id, [said("x" * 1_000_000)])
        assert "disk is full" in database.problem
        assert len(await store.history("ann", made.id)) == 1

        await database._connection.run(  # type: ignore[union-attr]
            lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchall()
        )
        while database.problem:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await store.add("ann", made.id, [said("x" * 1_000_000)])
        assert len(await store.history("ann", made.id)) == 2


async def test_a_database_locked_by_another_program_is_told_and_waited_for(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store, asyncio.timeout(20):
        made = await store.create("ann")
        other = sqlite3.connect(tmp_path / NAME, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            with pytest.raises(StateUnavailable, match="another program has locked it"):
                await store.add("ann", made.id, [said("One")])
            assert await store.history("ann", made.id) == []
        finally:
            other.execute("ROLLBACK")
            other.close()

        await store.add("ann", made.id, [said("Two")])
        assert store._database.problem == ""
        assert [each.content for each in await store.history("ann", made.id)] == ["Two"]


async def test_a_file_that_is_no_database_is_told_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"This is my diary. " * 1000)

    async with open_database(tmp_path) as database:
        assert "no database" in database.problem
        assert "portal restore" in database.problem
        with pytest.raises(StateUnavailable, match="no database"):
            await database.write(_put("x"))

    assert (tmp_path / NAME).read_bytes() == b"This is my diary. " * 1000


async def test_a_damaged_database_stays_a_problem_though_some_of_it_works(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.bring_in("ann", [])
        for n in range(50):
            await store.create("ann", messages=[said(f"{n} " + "words " * 500)])
    path = tmp_path / NAME
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    path.write_bytes(content)

    async with open_store(tmp_path) as store:
        with pytest.raises(StateUnavailable, match="damaged"):
            await store.list("ann")
        await asyncio.sleep(0.2)  # longer than it takes to try again
        assert "damaged" in store._database.problem


async def test_a_place_that_cannot_be_written_is_told_and_tried_again(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text("a file where a directory is expected", encoding="utf-8")

    async with open_database(state) as database, asyncio.timeout(20):
        assert database.problem.startswith(f"Portal's database {state / NAME} cannot be used: ")
        state.unlink()
        while database.problem:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert await database.read(migrations.version_of) == len(migrations.STEPS)


async def test_a_newer_schema_is_refused_by_both_versions(tmp_path: Path) -> None:
    async with open_database(tmp_path) as database:
        await database.write(lambda c: c.execute("PRAGMA user_version = 99").fetchall())

    async with open_database(tmp_path) as database:
        known = len(migrations.STEPS)
        assert f"version 99 and this Portal knows versions up to {known}" in database.problem


async def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / NAME) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()

    async with open_database(tmp_path) as database:
        assert "another program" in database.problem
    with sqlite3.connect(tmp_path / NAME) as other:
        assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]
    other.close()


def test_a_migration_keeps_a_copy_of_before(connection: sqlite3.Connection, tmp_path: Path) -> None:
    steps = (lambda c: c.execute("CREATE TABLE one (x)"), lambda c: c.execute("DROP TABLE one"))
    connection.execute("DROP TABLE things")
    assert migrations.migrate(connection, tmp_path / COPIES, steps[:1]) is None
    connection.execute("INSERT INTO one VALUES (1)")

    kept = migrations.migrate(connection, tmp_path / COPIES, steps)

    assert kept is not None
    assert migrations.version_of(connection) == 2
    copy = sqlite3.connect(kept)
    assert copy.execute("SELECT x FROM one").fetchall() == [(1,)]
    assert migrations.version_of(copy) == 1
    copy.close()
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_migration_that_fails_changes_nothing(
    connection: sqlite3.Connection, tmp_path: Path
) -> None:
    connection.execute("DROP TABLE things")
    steps = (lambda c: c.execute("CREATE TABLE one (x)"), lambda c: c.execute("nonsense"))

    with pytest.raises(sqlite3.OperationalError):
        migrations.migrate(connection, tmp_path, steps)

    assert migrations.version_of(connection) == 0
    assert connection.execute("SELECT * FROM sqlite_schema").fetchall() == []


async def test_an_opened_database_is_not_migrated_again(tmp_path: Path) -> None:
    for _ in range(2):
        async with open_database(tmp_path) as database:
            assert database.problem == ""

    assert not (tmp_path / COPIES).exists()


async def test_an_end_that_is_cut_short_leaves_no_thread_behind(tmp_path: Path) -> None:
    release = threading.Event()
    async with open_database(tmp_path) as database:
        reading = asyncio.create_task(database.read(lambda _: release.wait(20)))
        await asyncio.sleep(0)
        await database.read(lambda _: None)  # the first one has its thread by now
        closing = asyncio.create_task(database.close())
        done, _ = await asyncio.wait({closing}, timeout=0.05)
        assert not done
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        release.set()
        assert await reading

    for thread in threading.enumerate():
        if "connection_worker" in thread.name:
            thread.join(10)
            assert not thread.is_alive()
