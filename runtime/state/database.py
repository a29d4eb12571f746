"""The database of Portal: one file, one connection that writes, a few that read.

Owns opening, closing, and the truth about whether it works. While it does not, everything here
raises StateUnavailable, `problem` says why, and it is tried again now and then.
"""

import asyncio
import contextlib
import logging
import sqlite3
from pathlib import Path
from typing import TypeVar

from portal.runtime.ops import schema
from portal.runtime.state.connection import Connection, Trace, open_reader, open_writer
from portal.runtime.state.copying import COPIES, NAME
from portal.runtime.state.faults import is_lasting, reason_of, unavailable
from portal.runtime.state.migrations import (
    ForeignDatabase,
    NewerSchema,
    migrate,
    version_of,
)
from portal.runtime.state.writer import Work, Writer
from portal.shared.errors import StateUnavailable

T = TypeVar("T")
log = logging.getLogger("portal.state")


class Database:
    """One database file. `start` it, use it, `close` it; `trace` is told each statement."""

    def __init__(
        self, state_dir: Path, settings: schema.State, *, trace: Trace | None = None
    ) -> None:
        self.path = state_dir / NAME
        self._settings = settings
        self._trace = trace
        self._writer = Writer(self._told)
        self._connection: Connection | None = None
        self._readers: list[Connection] = []
        self._free: asyncio.Queue[Connection] = asyncio.Queue()
        self._writing: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._reason = "it is not open"
        self._well = False
        self._lasting = False

    @property
    def problem(self) -> str:
        """What is wrong, as a sentence; empty when all is well, or nothing was started."""
        if self._well or self._watching is None:
            return ""
        return self._unavailable().message

    async def start(self) -> None:
        """Open it, making or migrating it as needed. What goes wrong becomes the `problem`."""
        await self._open()
        self._watching = asyncio.create_task(self._watch(), name="state-watch")

    async def write(self, work: Work[T], *, durable: bool = True) -> T:
        """Run work over the connection that writes; returns when it is committed.

        The work may run twice, must not wait, and is done even when the caller stops waiting. What
        it raises undoes it alone. `durable`: with a loss of power survived, not only a crash.
        """
        if self._connection is None:
            raise self._unavailable()
        result = await self._writer.write(work, durable=durable)
        if self._connection is not None:
            self._recovered()
        return result

    async def read(self, work: Work[T]) -> T:
        """Run work over a connection that reads, in one view of the database."""
        if self._connection is None:
            raise self._unavailable()
        free = self._free
        reader = await free.get()
        try:
            return await reader.run(lambda connection: _in_one_view(connection, work))
        except (sqlite3.Error, ValueError) as error:
            told = self._told(error)
            if told is error:
                raise
            raise told from error
        finally:
            free.put_nowait(reader)

    async def close(self) -> None:
        """Write what is queued, and close every connection."""
        try:
            if self._watching is not None:
                self._watching.cancel()
                await asyncio.gather(self._watching, return_exceptions=True)
        finally:
            await self._close()

    async def _watch(self) -> None:
        """Try what failed again, now and then."""
        while True:
            await asyncio.sleep(self._settings.retry_seconds)
            if self._connection is None:
                await self._open()
            elif not self._well and not self._lasting:
                with contextlib.suppress(StateUnavailable):
                    await self.write(_touch)

    async def _open(self) -> None:
        busy, path = self._settings.busy_seconds, self.path
        try:
            await asyncio.to_thread(self._prepare)
            writing = Connection(lambda: open_writer(path, busy, self._trace))
            self._connection = await writing.open()
            copies = path.parent / COPIES
            kept = await writing.run(lambda connection: migrate(connection, copies))
            for _ in range(self._settings.readers):
                reader = Connection(lambda: open_reader(path, busy, self._trace))
                await reader.open()
                self._readers.append(reader)
                self._free.put_nowait(reader)
        except (sqlite3.Error, OSError, NewerSchema, ForeignDatabase) as error:
            self._note(error, reason_of(error) or str(error))
            await self._close()
            return
        if kept is not None:
            log.info("The database was brought to a newer schema; a copy of before is %s", kept)
        self._writing = asyncio.create_task(self._writer.run(writing), name="state-writer")
        self._lasting = False
        self._recovered()

    def _prepare(self) -> None:
        """Make the directory and, for this user alone, the file."""
        if not self.path.parent.is_dir():
            self.path.parent.mkdir(parents=True, mode=0o700)
        self.path.touch(mode=0o600)

    async def _close(self) -> None:
        """Close what is open; cancelled, end the threads without waiting for them."""
        if self._well:
            self._well, self._reason = False, "it is closed"
        opened = [*self._readers, *([self._connection] if self._connection else [])]
        writing, writer = self._writing, self._writer
        self._connection, self._writing, self._writer = None, None, Writer(self._told)
        self._readers, self._free = [], asyncio.Queue()
        try:
            if writing is not None:
                writer.end()
                await asyncio.gather(writing, return_exceptions=True)
                writer.refuse(self._unavailable)
            for each in opened:
                await each.end()
        except asyncio.CancelledError:
            for each in opened:
                each.stop()
            raise

    def _told(self, error: BaseException) -> BaseException:
        """Word a failure for the caller; one of the surroundings is the database's problem."""
        reason = reason_of(error)
        if reason is None and isinstance(error, ValueError) and self._connection is None:
            reason = "it is closed"
        if reason is None:
            return error
        self._note(error, reason)
        return unavailable(self.path, reason)

    def _note(self, error: BaseException, reason: str) -> None:
        if self._well or reason != self._reason:
            log.error("Portal's database %s cannot be used: %s.", self.path, reason)
        self._well, self._reason = False, reason
        self._lasting = self._lasting or is_lasting(error)

    def _recovered(self) -> None:
        """Note that it works; what is damaged stays damaged, however much of it still does."""
        if not self._lasting:
            self._well = True

    def _unavailable(self) -> StateUnavailable:
        return unavailable(self.path, self._reason)


def _in_one_view(connection: sqlite3.Connection, work: Work[T]) -> T:
    """Read at one moment, whatever is committed meanwhile."""
    connection.execute("BEGIN")
    try:
        return work(connection)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _touch(connection: sqlite3.Connection) -> None:
    """Write without changing anything, to see whether that works."""
    connection.execute(f"PRAGMA user_version = {version_of(connection)}")
