"""One connection of aiosqlite that runs whole functions in its thread, in a single hop."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

import aiosqlite

T = TypeVar("T")
Trace = Callable[[str], None]


class Connection(aiosqlite.Connection):
    """A connection in a thread of its own; begins with `open`."""

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        # The thread outlives a stop that was cut short, and must not keep the process from ending.
        self._thread.daemon = True

    async def open(self) -> Self:
        """Begin its thread and open the database in it."""
        await self
        return self

    async def end(self) -> None:
        """Close it after what it does now. Cancelled, it does so without being waited for."""
        # `close` of aiosqlite would go on waiting when it is cancelled.
        ended = self.stop()
        if ended is not None:
            await asyncio.gather(ended, return_exceptions=True)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function over the connection, in its thread."""
        result: T = await self._execute(work, self._conn)  # type: ignore[no-untyped-call]  # aiosqlite's own
        return result


def open_writer(path: Path, busy_seconds: float, trace: Trace | None = None) -> sqlite3.Connection:
    """Open the connection that writes: WAL, and on the disk when a commit returns."""
    connection = _open(path, busy_seconds, trace)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        make_durable(connection)
        # macOS only: flush the drive's own cache too. Elsewhere this has no effect.
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA journal_size_limit = 67108864")
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path, busy_seconds: float, trace: Trace | None = None) -> sqlite3.Connection:
    """Open a connection that cannot write."""
    connection = _open(path, busy_seconds, trace)
    connection.execute("PRAGMA query_only = ON")
    return connection


def make_durable(connection: sqlite3.Connection) -> None:
    """Have each commit wait for the disk: it survives a loss of power."""
    connection.execute("PRAGMA synchronous = FULL")


def make_relaxed(connection: sqlite3.Connection) -> None:
    """Have commits wait for nothing: they survive the end of the process, not a loss of power."""
    connection.execute("PRAGMA synchronous = NORMAL")


def _open(path: Path, busy_seconds: float, trace: Trace | None) -> sqlite3.Connection:
    # Transactions are begun and ended by name; Python must not begin any by itself.
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.set_trace_callback(trace)
    return connection
