"""The one writer: takes whatever is queued, runs it in one transaction, commits once.

A caller is answered only after the commit. Owns no connection: it is given one, and the task that
runs it is its database's.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from portal.runtime.state.connection import Connection, make_durable, make_relaxed
from portal.runtime.state.faults import PRIMARY, reason_of

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
LARGEST_GROUP = 1000
"""Units of one commit, so that the first of many does not wait for the last."""


class Unit(msgspec.Struct):
    """One caller's work: all of it is committed, or nothing."""

    work: Work[Any]
    durable: bool
    done: "asyncio.Future[Any]"


class Broken(msgspec.Struct, frozen=True):
    """How a unit failed."""

    error: BaseException


class Writer:
    """The queue before the connection that writes."""

    def __init__(self, failed: Callable[[BaseException], BaseException]) -> None:
        self._failed = failed
        """Words an error for the callers, and notes what it says about the database."""
        self._units: list[Unit] = []
        self._wake = asyncio.Event()
        self._ending = False

    async def write(self, work: Work[T], *, durable: bool = True) -> T:
        """Queue work and wait for its commit. Once queued it is done, whether one waits or not."""
        unit = Unit(work, durable, asyncio.get_running_loop().create_future())
        self._units.append(unit)
        self._wake.set()
        result: T = await unit.done
        return result

    async def run(self, connection: Connection) -> None:
        """Write until told to end, and then what is still queued."""
        while not (self._ending and not self._units):
            await self._wake.wait()
            if not self._ending:
                self._wake.clear()
            while self._units:
                group, self._units = self._units[:LARGEST_GROUP], self._units[LARGEST_GROUP:]
                await self._commit(connection, group)

    def end(self) -> None:
        """Have `run` return as soon as nothing is queued."""
        self._ending = True
        self._wake.set()

    def refuse(self, error: Callable[[], BaseException]) -> None:
        """Fail what is queued."""
        units, self._units = self._units, []
        for unit in units:
            _fail(unit, error())

    async def _commit(self, connection: Connection, group: Sequence[Unit]) -> None:
        works = [unit.work for unit in group]
        durable = any(unit.durable for unit in group)
        try:
            results = await connection.run(lambda conn: commit(conn, works, durable=durable))
        except BaseException as error:
            for unit in group:
                _fail(unit, self._failed(error))
            if not isinstance(error, Exception):
                raise
            return
        for unit, result in zip(group, results, strict=True):
            if isinstance(result, Broken):
                _fail(unit, self._failed(result.error))
            elif not unit.done.done():
                unit.done.set_result(result)


def commit(
    connection: sqlite3.Connection, works: Sequence[Work[Any]], *, durable: bool = True
) -> list[Any]:
    """Run each work in a savepoint of one transaction and commit; give results, or Broken.

    Works may be run twice: where the disk refuses several, each is tried in a transaction of its
    own, so that one that is too large fails alone.
    """
    make_durable(connection) if durable else make_relaxed(connection)
    try:
        connection.execute("BEGIN IMMEDIATE")
        results = [_run(connection, work) for work in works]
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if len(works) == 1 or not _is_size(error):
            return [Broken(error)] * len(works)
        return [commit(connection, [work], durable=durable)[0] for work in works]
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return results


def _run(connection: sqlite3.Connection, work: Work[Any]) -> Any:
    """Run one work. Raises only what ends the whole transaction."""
    connection.execute("SAVEPOINT unit")
    try:
        result = work(connection)
    except Exception as error:
        # Some failures have rolled the whole transaction back by themselves.
        if not connection.in_transaction or reason_of(error) is not None:
            raise
        connection.execute("ROLLBACK TO unit")
        result = Broken(error)
    connection.execute("RELEASE unit")
    return result


def _is_size(error: sqlite3.Error) -> bool:
    """Tell whether less at once might have been taken."""
    return getattr(error, "sqlite_errorcode", 0) & PRIMARY in (
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
    )


def _fail(unit: Unit, error: BaseException) -> None:
    if not unit.done.done():
        unit.done.set_exception(error)
