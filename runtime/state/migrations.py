"""The schema, as numbered steps: the number of steps taken is the database's `user_version`.

A step is never edited after a release; a change is a further step.
"""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from portal.runtime.state.copying import copy_database, stamp
from portal.runtime.state.schema_1 import create_conversations, create_usage

APPLICATION_ID = 0x506F7274
"""Marks the file as Portal's, `Port` in ASCII."""
Step = Callable[[sqlite3.Connection], None]

STEPS: tuple[Step, ...] = (
    create_conversations,  # 1
    create_usage,  # 2
)


class NewerSchema(Exception):
    """The database was written by a newer Portal."""

    def __init__(self, found: int, known: int) -> None:
        super().__init__(
            f"its schema is version {found} and this Portal knows versions up to {known}; "
            "install the newer Portal again, or restore a backup of before"
        )


class ForeignDatabase(Exception):
    """The file is a database of another program."""

    def __init__(self) -> None:
        super().__init__("it is a database of another program; move it away")


def check(connection: sqlite3.Connection, known: int = len(STEPS)) -> int:
    """Give the version of a database. Raises NewerSchema or ForeignDatabase."""
    found = version_of(connection)
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    if mark != APPLICATION_ID and (found or _has_tables(connection)):
        raise ForeignDatabase
    if found > known:
        raise NewerSchema(found, known)
    return found


def migrate(
    connection: sqlite3.Connection, copies: Path, steps: Sequence[Step] = STEPS
) -> Path | None:
    """Bring a database to the newest version, in one transaction.

    Before, a database that has content is copied into the folder `copies`; gives the copy's
    path. Raises NewerSchema or ForeignDatabase, and what a step raises, with nothing changed.
    """
    found = check(connection, len(steps))
    if found == len(steps):
        return None
    kept = None
    if found:
        kept = copies / f"portal-{stamp()}-before-version-{len(steps)}.db"
        copy_database(connection, kept)
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for step in steps[found:]:
            step(connection)
        connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return kept


def version_of(connection: sqlite3.Connection) -> int:
    """Read how many steps a database has taken."""
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return found


def _has_tables(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is not None
