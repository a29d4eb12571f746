"""Time that passes only when nothing else is left to do, an Ollama that lives in it, and a line."""

import asyncio
import itertools
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from portal.runtime.admission.collation import Line
from portal.runtime.admission.lane import Lane, Waiting
from portal.runtime.admission.load import BackendLoad, Load
from portal.runtime.ops import schema

T = TypeVar("T")


class _Leap(selectors.SelectSelector):
    """Waits for no time: leaps over it."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise AssertionError("everybody waits, and nothing will ever happen")
            self.now += max(0.0, timeout)
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock leaps from timer to timer; a deadlock is an AssertionError."""

    def __init__(self) -> None:
        self._leap = _Leap()
        super().__init__(self._leap)

    def time(self) -> float:
        return self._leap.now


def simulate(story: Coroutine[Any, Any, T]) -> T:
    """Run a story in simulated time."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(story)


def load_of(settings: schema.Load | None = None, **backends: BackendLoad) -> Load:
    """Make a Load that reads the simulated clock."""
    clock = asyncio.get_running_loop().time
    return Load(settings or schema.Load(), backends, clock=clock)


class SimulatedOllama:
    """Loads models into little room, evicting what is idle, the least recently used first.

    Like the real one it serves its own queue in order: a request whose model does not fit waits
    until something is idle, and all behind it wait too.
    """

    def __init__(self, *, room: int, load_seconds: float = 5.0) -> None:
        self.loads = 0
        self.order: list[str] = []
        self._room = room
        self._load_seconds = load_seconds
        self._in_use: dict[str, int] = {}
        self._scheduler = asyncio.Lock()
        self._idle = asyncio.Condition()

    @property
    def loaded(self) -> frozenset[str]:
        """What `/api/ps` lists."""
        return frozenset(self._in_use)

    async def answer(self, model: str, seconds: float) -> None:
        async with self._scheduler:
            self.order.append(model)
            if model not in self._in_use:
                await self._make_room()
                await asyncio.sleep(self._load_seconds)
                self.loads += 1
            self._in_use[model] = self._in_use.pop(model, 0) + 1
        await asyncio.sleep(seconds)
        async with self._idle:
            self._in_use[model] -= 1
            self._idle.notify_all()

    async def _make_room(self) -> None:
        async with self._idle:
            while len(self._in_use) >= self._room:
                idle = next((model for model, users in self._in_use.items() if not users), None)
                if idle is None:
                    await self._idle.wait()
                else:
                    del self._in_use[idle]


class Desk:
    """A line, a clock turned by hand, and who runs."""

    def __init__(
        self, *, limit: int = 0, room: int = 0, batch: int = 3, batch_seconds: float = 100
    ) -> None:
        self.now = 0.0
        self.running: list[tuple[Lane, bool]] = []
        self.line: Line[Waiting] = Line(
            "gpu",
            limit=limit,
            share=limit // 2 or 4,
            room=room,
            batch=batch,
            batch_seconds=batch_seconds,
            numbers=itertools.count(1),
        )

    def ask(self, models: str, *, background: bool = False) -> list[Waiting]:
        """Put requests in line, a letter each."""
        asked = [Waiting(self.line.lane(m), self.now, background=background) for m in models]
        for waiter in asked:
            self.line.join(waiter)
        return asked

    def admit(self) -> str:
        """Let go all who may; their models."""
        gone = ""
        while (waiter := self.line.next(self.now)) is not None:
            self.grant(waiter)
            gone += waiter.lane.model
        return gone

    def grant(self, waiter: Waiting) -> None:
        """Let one go."""
        self.line.admit(waiter, self.now)
        self.running.append((waiter.lane, waiter.background))

    def finish(self, model: str, number: int = 1) -> None:
        """End the oldest answers of a model."""
        for _ in range(number):
            found = next(each for each in self.running if each[0].model == model)
            self.running.remove(found)
            found[0].measure(1, self.now)
            self.line.end(*found)

    def displace(self, one: str, other: str) -> None:
        """Have the line learn that two models displace each other."""
        for model in (one, other):
            lane = self.line.lane(model)
            self.line.begin(lane, self.now)
            lane.measure(1, self.now)
            self.line.end(lane)
            self.now += 1
            self.line.observe(frozenset({model}), self.now)
        assert self.line.collating
