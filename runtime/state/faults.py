"""What SQLite and the disk can refuse, in sentences for people. Pure but for reading errors."""

import sqlite3
from pathlib import Path

from portal.shared.errors import StateUnavailable

PRIMARY = 0xFF
"""SQLite's extended codes carry the primary one in their lowest byte."""

REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space",
    sqlite3.SQLITE_READONLY: "it is read-only; give this user the right to write there",
    sqlite3.SQLITE_PERM: "this user has no permission there; give it the right to write",
    sqlite3.SQLITE_AUTH: "this user has no permission there; give it the right to write",
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened; the state directory must be there and writable for this user"
    ),
    sqlite3.SQLITE_BUSY: "another program has locked it; end that program",
    sqlite3.SQLITE_LOCKED: "another program has locked it; end that program",
    sqlite3.SQLITE_IOERR: "the disk gave an error; look at the disk, and whether it is full",
    sqlite3.SQLITE_CORRUPT: "it is damaged; `portal restore <backup>` puts a backup in its place",
    sqlite3.SQLITE_NOTADB: (
        "it is no database, or a damaged one; `portal restore <backup>` puts a backup in its place"
    ),
    sqlite3.SQLITE_NOMEM: "there is not enough memory; close other programs",
    sqlite3.SQLITE_PROTOCOL: "another program has locked it; end that program",
    sqlite3.SQLITE_NOLFS: "the file system takes no larger file; move the state directory",
}
"""Failures of the surroundings; any other one belongs to the work that met it."""


def reason_of(error: BaseException) -> str | None:
    """Say why the surroundings failed; None when the work itself was wrong."""
    if isinstance(error, sqlite3.Error):
        # Python's own, such as ProgrammingError for a closed connection, have no code.
        return REASONS.get(getattr(error, "sqlite_errorcode", 0) & PRIMARY)
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return None


def is_lasting(error: BaseException) -> bool:
    """Tell whether it was damage, which does not go away by itself."""
    code = getattr(error, "sqlite_errorcode", 0) & PRIMARY
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def unavailable(path: Path, reason: str) -> StateUnavailable:
    """Make the error that a caller is told."""
    return StateUnavailable(f"Portal's database {path} cannot be used: {reason}.")
