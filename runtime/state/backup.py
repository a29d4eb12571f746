"""Backups: made while the database is in use, and put back in its place.

Everything here blocks; it runs in the thread of a connection, or in a command.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from portal.runtime.state import migrations
from portal.runtime.state.copying import COMPANIONS, COPIES, NAME, copy_database, stamp, sync
from portal.runtime.state.faults import reason_of, unavailable
from portal.shared.errors import Conflict, NotFound, PortalError, StateUnavailable

FAULTS_SHOWN = 3


def back_up(state_dir: Path, target: Path | None = None) -> Path:
    """Copy the database of a state directory, whether Portal runs or not; give the copy's path.

    Raises NotFound where there is no database, Conflict where the target exists, and
    StateUnavailable.
    """
    path = state_dir / NAME
    if not path.exists():
        raise NotFound(f"There is nothing to back up: {path} does not exist yet.")
    target = state_dir / COPIES / f"portal-{stamp()}.db" if target is None else target.absolute()
    if target.exists():
        raise Conflict(f"{target} exists already; name a file that does not.")
    with explained(path), contextlib.closing(_open_existing(path)) as source:
        migrations.check(source)
        copy_database(source, target)
    return target


def restore(state_dir: Path, backup: Path) -> Path | None:
    """Put a backup in the database's place; only under the lock of the state directory.

    The database that was there is kept beside; gives its path, None where there was none. Raises
    NotFound, and StateUnavailable where the backup is damaged, foreign or too new.
    """
    if not backup.is_file():
        raise NotFound(f"There is no backup {backup}.")
    path, draft = state_dir / NAME, state_dir / f".{NAME}.restored"
    with explained(backup), contextlib.closing(_open_existing(backup)) as source:
        migrations.check(source)
        faults = find_faults(source)
        if not migrations.version_of(source):
            faults = ["it holds nothing of Portal"]
        if faults:
            raise StateUnavailable(f"{backup} cannot be restored: {'; '.join(faults)}.")
        copy_database(source, draft)
    with explained(path):
        kept = _put_aside(path) if path.exists() else None
        draft.replace(path)
        sync(state_dir)
    return kept


def find_faults(connection: sqlite3.Connection) -> list[str]:
    """Check every page and index of a database; a sentence for each fault, the first few."""
    rows = connection.execute(f"PRAGMA integrity_check({FAULTS_SHOWN})").fetchall()
    return [row for (row,) in rows if row != "ok"]


def check_file(state_dir: Path) -> tuple[int, list[str]] | None:
    """Give a database's schema version and faults; None where there is no database.

    Reads only. Raises StateUnavailable.
    """
    path = state_dir / NAME
    if not path.exists():
        return None
    with explained(path), contextlib.closing(_open_existing(path)) as connection:
        connection.execute("PRAGMA query_only = ON")
        return migrations.check(connection), find_faults(connection)


def refuse_newer(state_dir: Path) -> None:
    """Raise StateUnavailable where a newer Portal, or another program, wrote the database.

    Nothing else is looked for: with a database that merely fails, Portal starts without it.
    """
    path = state_dir / NAME
    if not path.exists():
        return
    try:
        with contextlib.closing(_open_existing(path)) as connection:
            migrations.check(connection)
    except (migrations.NewerSchema, migrations.ForeignDatabase) as error:
        raise unavailable(path, str(error)) from error
    except (sqlite3.Error, OSError):
        return


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what a database or the disk refuses into StateUnavailable."""
    try:
        yield
    except PortalError:
        raise
    except (migrations.NewerSchema, migrations.ForeignDatabase, sqlite3.Error, OSError) as error:
        raise unavailable(path, reason_of(error) or str(error)) from error


def _open_existing(path: Path) -> sqlite3.Connection:
    """Open a database that is there; sqlite3 alone would make one."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)


def _put_aside(path: Path) -> Path:
    """Move a database among the copies, its last commits with it."""
    kept = path.parent / COPIES / f"portal-{stamp()}-before-restore.db"
    kept.parent.mkdir(mode=0o700, exist_ok=True)
    # The log of commits must be in the file before the file moves: beside another database it
    # would be taken for that one's. A damaged database has its log moved along with it.
    with contextlib.suppress(sqlite3.Error), contextlib.closing(_open_existing(path)) as old:
        old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for companion in COMPANIONS:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + companion).replace(kept.with_name(kept.name + companion))
    path.replace(kept)
    return kept
