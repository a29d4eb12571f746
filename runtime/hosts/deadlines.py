"""How long a client may take for a request's head, and keep a connection that it does not use."""

import asyncio
import math
from collections.abc import Callable


class Deadlines:
    """The two deadlines of one connection; calls `passed` when the earlier one has.

    One timer outlives many requests: it is moved only when a deadline comes closer.
    """

    __slots__ = ("_at", "_loop", "_passed", "_timer", "head", "idle")

    def __init__(self, loop: asyncio.AbstractEventLoop, passed: Callable[[], None]) -> None:
        self.head = math.inf
        """Loop time at which the head has to be complete."""
        self.idle = math.inf
        """Loop time at which the next request has to have begun."""
        self._loop = loop
        self._passed = passed
        self._timer: asyncio.TimerHandle | None = None
        self._at = math.inf

    def expect_head(self, seconds: float) -> None:
        """Give the client this long for a head."""
        self.head = self._loop.time() + seconds
        self._look_at(self.head)

    def expect_request(self, seconds: float) -> None:
        """Give the client this long to begin another request."""
        self.idle = self._loop.time() + seconds
        self._look_at(self.idle)

    def lift(self) -> None:
        """Expect nothing more."""
        self.head = self.idle = math.inf

    def close(self) -> None:
        """Never call `passed` again."""
        self.lift()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_at(self, at: float) -> None:
        if at < self._at:
            if self._timer is not None:
                self._timer.cancel()
            self._at = at
            self._timer = self._loop.call_at(at, self._look)

    def _look(self) -> None:
        """See whether a deadline has passed; if not, look again when the next one does."""
        self._timer = None
        self._at = math.inf
        due = min(self.head, self.idle)
        if self._loop.time() >= due:
            self._passed()
        elif due < math.inf:
            self._look_at(due)
