"""A copy of a database: whole, of one moment, made while others write. Everything here blocks."""

import contextlib
import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

NAME = "portal.db"
COPIES = "backups"
"""Folder beside the database for the copies that Portal makes unasked."""
COMPANIONS = ("-wal", "-shm")


def stamp() -> str:
    """Give the time as part of a file name."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"


def copy_database(source: sqlite3.Connection, target: Path) -> None:
    """Copy a database as it is at one moment; the file appears whole or not at all (0600).

    Waits for nobody who writes, and nobody waits for it.
    """
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    try:
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with contextlib.closing(sqlite3.connect(draft, isolation_level=None)) as copy:
            # All pages in one step: one moment, however much is written meanwhile.
            source.backup(copy)
            # The copy is one file by itself, whatever becomes of its companions.
            copy.execute("PRAGMA journal_mode = DELETE")
        sync(draft)
        draft.replace(target)
        sync(target.parent)
    finally:
        for left in (draft, *_companions(draft)):
            left.unlink(missing_ok=True)


def _companions(path: Path) -> list[Path]:
    return [path.with_name(f"{path.name}{end}") for end in (*COMPANIONS, "-journal")]


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
