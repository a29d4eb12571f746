"""Run several things at once, none of which can hurt the others."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def execute_parallel(queries: Sequence[Awaitable[T]]) -> list[T | Exception]:
    """Await all; give their results in the order of the queries, a failure as its exception.

    One failure cancels no other. When the caller is cancelled, all are, and have ended when
    this does.
    """
    tasks: list[asyncio.Future[T]] = [asyncio.ensure_future(query) for query in queries]
    try:
        if tasks:
            await asyncio.wait(tasks)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    outcomes: list[T | Exception] = []
    for task in tasks:
        outcome: T | Exception = _outcome(task)
        outcomes.append(outcome)
    return outcomes


def _outcome(task: asyncio.Future[T]) -> T | Exception:
    if task.cancelled():
        return RuntimeError("It was cancelled.")
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, Exception):
        return error
    raise error
