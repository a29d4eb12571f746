"""What a measurement gives: figures, each beside its budget where it has one. Pure data."""

import math
import statistics
from collections.abc import Sequence

import msgspec


class BenchError(Exception):
    """A measurement could not be made; the message says why."""


class Figure(msgspec.Struct, frozen=True):
    """One number: the median of its samples unless its name says otherwise."""

    name: str
    value: float
    unit: str
    budget: float | None = None
    """Most that is allowed, in the same unit; None: for information."""
    samples: tuple[float, ...] = ()
    """One number for each repetition, where there were several."""

    @property
    def missed(self) -> bool:
        """Whether it is over its budget."""
        return self.budget is not None and self.value > self.budget


class Row(msgspec.Struct, frozen=True):
    """The figures of one measurement, and what a reader has to know about them."""

    name: str
    title: str
    figures: tuple[Figure, ...] = ()
    note: str = ""
    failure: str = ""
    """Why it could not be measured; a failure counts as a missed budget."""


class Effort(msgspec.Struct, frozen=True):
    """How much is measured."""

    rounds: int = 5
    """Repetitions, of which the median counts."""
    requests: int = 6000
    """Non-streamed requests of each repetition."""
    warm_up: int = 1000
    """Requests before each measurement that are not counted."""
    pairs: int = 2000
    """Pairs of requests, direct and through, for the added latency."""
    stream_rounds: int = 3
    stream_tokens: int = 550
    """Tokens of each stream: 11 s at 50 tokens a second."""
    memory_requests: int = 10_000
    """Requests after which the memory is read, and again after as many more."""
    starts: int = 5
    probes: int = 1000
    """Requests to each page while the backends are dead."""
    leavings: int = 60
    """Clients that leave, of each sort."""


QUICK = Effort(
    rounds=3,
    requests=2000,
    warm_up=500,
    pairs=400,
    stream_rounds=1,
    stream_tokens=150,
    memory_requests=3000,
    starts=3,
    probes=300,
    leavings=20,
)


def median(name: str, samples: Sequence[float], unit: str, budget: float | None = None) -> Figure:
    """Make the figure of several repetitions."""
    return Figure(name, statistics.median(samples), unit, budget, tuple(samples))


def percentile(samples: Sequence[float], share: float) -> float:
    """Find the smallest sample that `share` (0 to 1) of them do not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
