"""Backups: whole, of one moment, taken under load; restored only where nothing is lost by it."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from portal.runtime.state.backup import back_up, check_file, restore
from portal.runtime.state.copying import COPIES, NAME
from portal.runtime.state.migrations import STEPS
from portal.shared.errors import Conflict, NotFound, StateUnavailable
from tests.state_here import open_database, open_store, said


async def _titles(folder: Path) -> list[str]:
    async with open_store(folder) as store:
        return [each.title for each in (await store.list("ann")).data]


async def test_a_backup_under_load_is_whole(tmp_path: Path) -> None:
    async with open_store(tmp_path / "state") as store:
        made = await store.create("ann", title="Load")
        stop = asyncio.Event()
        acknowledged = 0

        async def load() -> None:
            nonlocal acknowledged
            while not stop.is_set():
                await store.add("ann", made.id, [said("word " * 100)])
                acknowledged += 1

        loading = asyncio.gather(*(load() for _ in range(4)))
        while acknowledged < 20:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        before = acknowledged
        target = await asyncio.to_thread(back_up, tmp_path / "state")
        stop.set()
        await loading

    (tmp_path / "other").mkdir()
    assert restore(tmp_path / "other", target) is None
    assert check_file(tmp_path / "other") == (len(STEPS), [])
    async with open_store(tmp_path / "other") as store:
        (found,) = (await store.list("ann")).data
        assert before <= found.message_count <= acknowledged
        assert len(await store.history("ann", found.id)) == found.message_count


async def test_a_restore_keeps_the_database_that_was_there(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with open_store(state) as store:
        await store.create("ann", title="Before")
    backup = back_up(state, tmp_path / "mine.db")
    async with open_store(state) as store:
        await store.create("ann", title="After")

    kept = restore(state, backup)

    assert await _titles(state) == ["Before"]
    assert kept is not None
    (tmp_path / "again").mkdir()
    restore(tmp_path / "again", kept)
    assert await _titles(tmp_path / "again") == ["After", "Before"]


async def test_a_restore_loses_no_commit_that_was_only_in_the_log(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with open_store(state) as store:
        await store.create("ann", title="Backed up")
        backup = back_up(state, tmp_path / "mine.db")
        await store.create("ann", title="In the log")
        # As a killed process leaves it: the log is there, and nobody has the file open.
        crashed = tmp_path / "crashed"
        crashed.mkdir()
        for each in state.iterdir():
            (crashed / each.name).write_bytes(each.read_bytes())

    kept = restore(crashed, backup)

    assert await _titles(crashed) == ["Backed up"]
    assert kept is not None
    (tmp_path / "again").mkdir()
    restore(tmp_path / "again", kept)
    assert await _titles(tmp_path / "again") == ["In the log", "Backed up"]


async def test_a_damaged_database_can_be_replaced(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with open_store(state) as store:
        await store.create("ann", title="Safe")
    backup = back_up(state, tmp_path / "mine.db")
    (state / NAME).write_bytes(b"rubbish" * 1000)

    kept = restore(state, backup)

    assert await _titles(state) == ["Safe"]
    assert kept is not None
    assert kept.read_bytes().startswith(b"rubbish")


async def test_what_is_no_whole_backup_of_portal_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with open_store(state) as store:
        await store.create("ann", title="Safe", messages=[said("words " * 5000)])
    whole = back_up(state, tmp_path / "whole.db").read_bytes()
    torn = tmp_path / "torn.db"
    torn.write_bytes(whole[: len(whole) // 2])
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    empty = tmp_path / "empty.db"
    empty.touch()
    text = tmp_path / "text.db"
    text.write_text("hello " * 1000, encoding="utf-8")

    for file in (torn, foreign, empty, text):
        with pytest.raises(StateUnavailable, match=file.name):
            restore(state, file)
    with pytest.raises(NotFound, match=r"none\.db"):
        restore(state, tmp_path / "none.db")

    assert await _titles(state) == ["Safe"]
    assert {each.name for each in state.iterdir()} <= {NAME, COPIES}


async def test_a_backup_of_a_newer_portal_is_refused(tmp_path: Path) -> None:
    async with open_database(tmp_path / "newer") as database:
        await database.write(lambda c: c.execute("PRAGMA user_version = 99").fetchall())
    (tmp_path / "state").mkdir()

    with pytest.raises(StateUnavailable, match="version 99"):
        restore(tmp_path / "state", tmp_path / "newer" / NAME)


async def test_a_backup_overwrites_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nothing to back up"):
        back_up(tmp_path)
    async with open_database(tmp_path):
        pass
    target = tmp_path / "precious"
    target.write_text("photos", encoding="utf-8")

    with pytest.raises(Conflict, match="exists already"):
        back_up(tmp_path, target)

    assert target.read_text(encoding="utf-8") == "photos"
