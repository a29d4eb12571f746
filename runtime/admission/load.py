"""How much is done at once: limits over all, per backend and per key, and the wait for one's turn.

Owns who holds a place and who waits for one. Who of those that wait goes next is decided in
`collation.py`, what a refusal says in `refusal.py`. For one event loop: nothing here may be
called from another thread.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Self, cast

import msgspec

from portal.runtime.admission.collation import Line
from portal.runtime.admission.lane import Lane, Waiting
from portal.runtime.admission.load_figures import BackendFigures, Limit, LoadFigures
from portal.runtime.admission.refusal import refuse_key, refuse_wait
from portal.runtime.ops import schema
from portal.shared.errors import RateLimited


class BackendLoad(msgspec.Struct, frozen=True):
    """Limits of one backend: answers at once, and models in flight at once; 0 for none."""

    max_concurrency: int = 0
    max_loaded: int = 0


class Ticket:
    """A place among those that run, held until `leave`; also a context manager that leaves."""

    __slots__ = ("_background", "_began", "_held", "_key", "_lane", "_line", "_load")

    def __init__(
        self,
        load: "Load",
        line: "Line[Waiter]",
        lane: Lane,
        key: str,
        began: float,
        background: bool,
    ) -> None:
        self._load = load
        self._line = line
        self._lane = lane
        self._key = key
        self._began = began
        self._background = background
        self._held = True

    def leave(self) -> None:
        """Give the place to whoever is next; done again, nothing happens."""
        if self._held:
            self._held = False
            load = self._load
            now = load.clock()
            self._lane.measure(now - self._began, now)
            load.release(self._line, self._lane, self._key, self._background)

    def pass_on(self) -> None:
        """Give it back unused: how long it was held says nothing about the model."""
        if self._held:
            self._held = False
            self._load.release(self._line, self._lane, self._key, self._background)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()


class Waiter(Waiting):
    """A request in line, and the future that ends its wait with a ticket or a refusal."""

    __slots__ = ("future", "key", "line", "refusal", "ticket")

    def __init__(
        self, line: Line["Waiter"], lane: Lane, key: str, since: float, *, background: bool
    ) -> None:
        super().__init__(lane, since, background=background)
        self.line = line
        self.key = key
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ticket: Ticket | None = None
        self.refusal: RateLimited | None = None


class Load:
    """The places of one configuration, and the lines before its backends.

    `backends` by name; one that is not named has no limit of its own.
    """

    def __init__(
        self,
        settings: schema.Load,
        backends: Mapping[str, BackendLoad],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self.running = 0
        """Answers under way, background work included."""
        self.in_line = 0
        """Requests that wait, background work included."""
        self._settings = settings
        self._most = settings.max_concurrency
        self._most_of_key = settings.key_concurrency
        self._share = max(1, self._most // 2)
        self._background_running = 0
        self._backends = dict(backends)
        self._lines: dict[str, Line[Waiter]] = {}
        self._keys: dict[str, int] = {}
        self._numbers = itertools.count(1)
        self._rejected: dict[Limit, int] = {"key_concurrency": 0, "queue": 0, "queue_seconds": 0}

    def try_enter(self, key: str, backend: str, model: str) -> Ticket | None:
        """Give a place at once, or None where a limit or somebody in line stands before it."""
        line = self._lines.get(backend) or self._open(backend)
        held = self._keys.get(key, 0)
        if self.running >= self._most or held >= self._most_of_key or not line.open_to(model):
            return None
        if line.collating:
            line.arrive(model)
        self._keys[key] = held + 1
        self.running += 1
        lane = line.lane(model)
        now = self.clock()
        line.begin(lane, now)
        return Ticket(self, line, lane, key, now, False)

    def has_place(self, key: str, backend: str, model: str) -> bool:
        """Tell whether `try_enter` would give a place now."""
        line = self._lines.get(backend) or self._open(backend)
        held = self._keys.get(key, 0)
        return self.running < self._most and held < self._most_of_key and line.open_to(model)

    async def enter(
        self, key: str, backend: str, model: str, *, background: bool = False
    ) -> Ticket:
        """Wait for a place; people come before background work.

        Raises RateLimited: at once where the key has too much under way or the queue is full,
        and after `load.queue_seconds`. Where the queue is full of background work, a person's
        request takes the place of its latest.
        """
        line = self._lines.get(backend) or self._open(backend)
        lane = line.lane(model)
        held = self._keys.get(key, 0)
        if held >= self._most_of_key:
            self._rejected["key_concurrency"] += 1
            raise refuse_key(self._settings, line, lane, held)
        waiter = Waiter(line, lane, key, self.clock(), background=background)
        self._keys[key] = held + 1
        self.in_line += 1
        line.join(waiter)
        self._admit(line)
        if waiter.ticket is not None:
            return waiter.ticket
        if self.in_line > self._settings.queue:
            self._refuse(self._least(waiter), "queue")
        return await self._wait(waiter)

    def observe(self, backend: str, loaded: frozenset[str]) -> None:
        """Learn from the models that a backend has loaded now which of them displace each other.

        To be called after each look, also while nothing runs; names as in `enter`.
        """
        line = self._lines.get(backend) or self._open(backend)
        line.observe(loaded, self.clock())
        self._admit(line)

    def waiting(self, backend: str, model: str) -> int:
        """Count the people that wait for a model."""
        line = self._lines.get(backend)
        return line.waiting_for(model) if line is not None else 0

    def figures(self) -> LoadFigures:
        """Say what goes on."""
        return LoadFigures(
            self.running,
            self.in_line,
            dict(self._rejected),
            {
                name: BackendFigures(
                    line.running,
                    line.waiting + len(line.background),
                    line.swaps,
                    max(0, line.swaps_by_arrival - line.swaps),
                )
                for name, line in self._lines.items()
            },
        )

    def release(self, line: Line[Waiter], lane: Lane, key: str, background: bool) -> None:
        """Take back a ticket's place and let go who may; for Ticket alone."""
        line.end(lane, background)
        full = self.running >= self._most
        self.running -= 1
        if background:
            self._background_running -= 1
        self._release_key(key)
        if self.in_line:
            # A place that all backends share may be what the line of another waits for.
            self._admit(*(self._lines.values() if full or background else (line,)))

    async def _wait(self, waiter: Waiter) -> Ticket:
        seconds = self._settings.queue_seconds
        timer = asyncio.get_running_loop().call_later(
            seconds, self._refuse, waiter, "queue_seconds"
        )
        try:
            await waiter.future
        except BaseException:
            # The place may have been given in the moment in which the client left.
            if waiter.ticket is not None:
                waiter.ticket.pass_on()
            else:
                self._forget(waiter)
            raise
        finally:
            timer.cancel()
        if waiter.refusal is not None:
            raise waiter.refusal
        return cast("Ticket", waiter.ticket)

    def _admit(self, *lines: Line[Waiter]) -> None:
        """Let go all who may of these lines, the oldest first, background work last."""
        while self.in_line and self.running < self._most:
            now = self.clock()
            able = [waiter for line in lines if (waiter := line.next(now)) is not None]
            if self._background_running >= self._share:
                able = [waiter for waiter in able if not waiter.background]
            if not able:
                return
            waiter = min(able, key=lambda each: (each.background, each.number))
            if waiter.future.done():
                # Its client left, which its own task has yet to find out.
                self._remove(waiter)
            else:
                self._grant(waiter, now)

    def _grant(self, waiter: Waiter, now: float) -> None:
        line, lane, background = waiter.line, waiter.lane, waiter.background
        line.admit(waiter, now)
        self.in_line -= 1
        self.running += 1
        if background:
            self._background_running += 1
        waiter.ticket = Ticket(self, line, lane, waiter.key, now, background)
        waiter.future.set_result(None)

    def _least(self, newcomer: Waiter) -> Waiter:
        """Choose who has to go where one too many waits."""
        background = [line.background[-1] for line in self._lines.values() if line.background]
        return max(background, key=lambda each: each.number, default=newcomer)

    def _refuse(self, waiter: Waiter, limit: Limit) -> None:
        if not waiter.future.done():
            self._rejected[limit] += 1
            waiter.refusal = refuse_wait(self._settings, waiter.line, waiter, limit, self.running)
            waiter.future.set_result(None)
        self._forget(waiter)

    def _forget(self, waiter: Waiter) -> None:
        """Take it out of the line if it is still there, and let go who waited behind."""
        if waiter.queued:
            self._remove(waiter)
            self._admit(waiter.line)

    def _remove(self, waiter: Waiter) -> None:
        waiter.line.drop(waiter)
        self.in_line -= 1
        self._release_key(waiter.key)

    def _release_key(self, key: str) -> None:
        held = self._keys[key] - 1
        if held:
            self._keys[key] = held
        else:
            del self._keys[key]

    def _open(self, backend: str) -> Line[Waiter]:
        limits = self._backends.get(backend) or BackendLoad()
        line: Line[Waiter] = Line(
            backend,
            limit=limits.max_concurrency,
            share=max(1, (limits.max_concurrency or self._most) // 2),
            room=limits.max_loaded,
            batch=self._settings.batch,
            batch_seconds=self._settings.batch_seconds,
            numbers=self._numbers,
        )
        self._lines[backend] = line
        return line
