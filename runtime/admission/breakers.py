"""The circuit breakers of all models: one for each (backend, model) that was asked, within bounds.

Names of models come from callers, so their number and length are bounded here.
"""

import random
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from portal.runtime.admission.breaker import CircuitBreaker, OnChange
from portal.runtime.ops import schema
from portal.shared.models import BreakerState, BreakerStatus

MOST_BREAKERS = 1024
LONGEST_NAME = 256
"""Longer names of models share a breaker where this many characters agree."""


class Breakers:
    """Breakers by (backend, model), made when first asked for.

    At most `most` are kept. When one more is needed, a sixteenth of them is dropped at once, so
    that a flood of new names does not pay for a look at all of them each time: first what has
    nothing to tell, then closed ones with failures or a pause, then half-open ones, open ones at
    last; within each, the ones longest unused.
    """

    def __init__(
        self,
        settings: schema.Breaker,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        on_change: OnChange | None = None,
        probe_seconds: float = 0.0,
        most: int = MOST_BREAKERS,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._jitter = jitter
        self._on_change = on_change
        self._probe_seconds = probe_seconds
        self._most = most
        self._all: OrderedDict[tuple[str, str], CircuitBreaker] = OrderedDict()
        """Longest unused first."""

    def __len__(self) -> int:
        return len(self._all)

    def of(self, backend: str, model: str) -> CircuitBreaker:
        """Return the breaker of a model, making it where there is none yet."""
        key = (backend, model[:LONGEST_NAME])
        found = self._all.get(key)
        if found is None:
            return self._make(key)
        self._all.move_to_end(key)
        return found

    def find(self, backend: str, model: str) -> CircuitBreaker | None:
        """Return the breaker of a model, if there is one; None: nothing is known against it."""
        return self._all.get((backend, model[:LONGEST_NAME]))

    def status(self, backend: str) -> tuple[BreakerStatus, ...]:
        """Tell of a backend's models that are not simply closed without failures, by name."""
        told = [
            (model, breaker)
            for (its_backend, model), breaker in self._all.items()
            if its_backend == backend and not breaker.clean
        ]
        return tuple(breaker.status(model) for model, breaker in sorted(told, key=_model))

    def reset(self, backend: str | None = None, model: str | None = None) -> int:
        """Reset those of a backend, of a model, of both or all; returns how many had a reason."""
        wanted = None if model is None else model[:LONGEST_NAME]
        chosen = [
            breaker
            for (its_backend, its_model), breaker in self._all.items()
            if backend in (None, its_backend) and wanted in (None, its_model)
        ]
        count = sum(not breaker.clean for breaker in chosen)
        for breaker in chosen:
            breaker.reset()
        return count

    def due(self) -> Sequence[tuple[str, str]]:
        """Name the (backend, model) that a cheap check should look at now."""
        return [key for key, breaker in self._all.items() if breaker.probe_due()]

    def states(self) -> Mapping[tuple[str, str], BreakerState]:
        """Give the state of each that has something to tell, by (backend, model)."""
        return {key: each.state for key, each in self._all.items() if not each.clean}

    def any_open(self) -> bool:
        """Tell whether any is open, so that somebody should look for those that are due."""
        return any(breaker.state == "open" for breaker in self._all.values())

    def _make(self, key: tuple[str, str]) -> CircuitBreaker:
        if len(self._all) >= self._most:
            self._drop(max(self._most // 16, 1))
        made = self._all[key] = CircuitBreaker(
            self._settings,
            backend=key[0],
            model=key[1],
            clock=self._clock,
            jitter=self._jitter,
            on_change=self._on_change,
            probe_seconds=self._probe_seconds,
        )
        return made

    def _drop(self, count: int) -> None:
        # The sort is stable, so that the longest unused stay first within each rank.
        by_worth = sorted(self._all, key=lambda key: _worth(self._all[key]))
        for key in by_worth[:count]:
            del self._all[key]


def _worth(breaker: CircuitBreaker) -> int:
    """Rank what would be lost by forgetting a breaker."""
    match breaker.state:
        case "open":
            return 3
        case "half_open":
            return 2
        case "closed":
            return 0 if breaker.clean else 1


def _model(told: tuple[str, CircuitBreaker]) -> str:
    return told[0]
