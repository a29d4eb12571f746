"""Try models that were left alone with something cheaper than a person's request.

When a breaker's time is over, its backend is asked for its models: if it answers and still has the
model, the next request may try it; if not, the model is left alone for longer, and no request is
spent on finding that out.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable

from portal.runtime.admission.breakers import Breakers
from portal.runtime.backends.http_backend import PROBE_SECONDS
from portal.runtime.routing.registry import Registry
from portal.shared.models import BreakerState

TICKS = 20
"""Looks within one recovery time."""
LONGEST_TICK = 1.0
"""Seconds between two looks at most, lest a request be spent before a look."""


class Recovery:
    """A loop that sleeps for as long as no breaker is open. `look` asks one backend anew."""

    def __init__(
        self,
        breakers: Breakers,
        registry: Registry,
        look: Callable[[str], Awaitable[None]],
        *,
        recovery_seconds: float,
    ) -> None:
        self._breakers = breakers
        self._registry = registry
        self._look = look
        self._interval = min(recovery_seconds / TICKS, LONGEST_TICK)
        # A breaker lets a request try after this time, check or no check.
        self._patience = min(recovery_seconds, PROBE_SECONDS) - 2 * self._interval
        self._task: asyncio.Task[None] | None = None
        self._checks: dict[str, asyncio.Task[None]] = {}
        """Under way, by backend."""
        self._opened = asyncio.Event()

    def changed(self, backend: str, model: str, state: BreakerState) -> None:
        """Take note that a breaker has changed."""
        if state == "open":
            self._opened.set()

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._watch(), name="recovery")

    async def stop(self) -> None:
        """End the loop, and the checks under way."""
        if self._task is not None:
            tasks = (self._task, *self._checks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._task = None

    async def _watch(self) -> None:
        while True:
            await self._opened.wait()
            self._opened.clear()
            while self._breakers.any_open():
                await asyncio.sleep(self._interval)
                for name in {backend for backend, _ in self._breakers.due()} - self._checks.keys():
                    # A task for each, since one that is silent would keep the others waiting.
                    task = asyncio.create_task(self._check(name), name=f"check {name}")
                    self._checks[name] = task
                    task.add_done_callback(functools.partial(self._checked, name))

    def _checked(self, name: str, _: asyncio.Task[None]) -> None:
        del self._checks[name]

    async def _check(self, name: str) -> None:
        answered = await self._ask(name)
        for backend, model in self._breakers.due():
            if backend == name:
                self._judge(backend, model, answered=answered)

    async def _ask(self, name: str) -> bool:
        """Look at a backend; tell whether it did answer, one way or the other, in time."""
        if name not in self._registry.backends:
            return True
        try:
            async with asyncio.timeout(self._patience):
                await self._look(name)
        except TimeoutError:
            return False
        return True

    def _judge(self, name: str, model: str, *, answered: bool) -> None:
        breaker = self._breakers.of(name, model)
        backend = self._registry.backends.get(name)
        known = self._registry.find(name, model)
        if not answered:
            breaker.probe_failed("its backend does not answer in time")
        elif backend is None or not backend.available:
            error = "" if backend is None else backend.status().error
            breaker.probe_failed(error or "its backend does not answer")
        elif known is not None and known.gone:
            breaker.probe_failed("its backend no longer lists it")
        else:
            breaker.probe_passed()
