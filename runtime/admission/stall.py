"""Notice that an answer has stopped coming, whatever its connection looks like.

A timer looks now and then whether anything came since, so a token costs no look at the clock.
"""

import asyncio
from collections.abc import Callable

LOOKS = 4
"""Looks within the limit; a stall is noticed after the limit, and before a look more."""


class Stall:
    """Ends a wait for the next piece of an answer with a cancellation, and tells it from others.

    Set `waiting` to the current task just before it waits, and to None when it goes on: a reader
    that takes its time is not the backend's stall. `pieces` counts what has come; `first` limits
    the wait for the first, `seconds` that for any other. To be stopped in every case.
    """

    __slots__ = (
        "_before",
        "_expired",
        "_first",
        "_looked",
        "_pieces",
        "_quiet",
        "_seconds",
        "_timer",
        "waiting",
    )

    def __init__(
        self, seconds: float, pieces: Callable[[], int], *, first: float | None = None
    ) -> None:
        self.waiting: asyncio.Task[object] | None = None
        self._seconds = seconds
        self._first = seconds if first is None else first
        self._pieces = pieces
        self._looked = -1
        self._quiet = 0
        self._before = 0
        self._expired: asyncio.Task[object] | None = None
        self._timer = self._wind()

    def stop(self) -> None:
        """End the watch."""
        self._timer.cancel()

    def was_it(self) -> bool:
        """Tell of a cancellation just caught whether it was this limit's; if so, take it back."""
        task, self._expired = self._expired, None
        return task is not None and task.uncancel() <= self._before

    def _wind(self) -> asyncio.TimerHandle:
        loop = asyncio.get_running_loop()
        return loop.call_later(self._seconds / LOOKS, self._look)

    def _look(self) -> None:
        pieces = self._pieces()
        still = self.waiting is not None and pieces == self._looked
        self._quiet = self._quiet + 1 if still else 0
        self._looked = pieces if self.waiting is not None else -1
        limit = self._seconds if pieces else self._first
        if self.waiting is not None and self._quiet * self._seconds / LOOKS >= limit:
            self._expired = task = self.waiting
            self._before = task.cancelling()
            task.cancel()
        else:
            self._timer = self._wind()
