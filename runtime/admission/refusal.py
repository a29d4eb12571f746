"""What a request is told that may not go, and when it should come back. Pure."""

import math
from collections.abc import Sequence
from typing import TypeVar

from portal.runtime.admission.collation import Line
from portal.runtime.admission.lane import Lane, Waiting
from portal.runtime.admission.load_figures import Limit
from portal.runtime.ops import schema
from portal.shared.errors import RateLimited

FIRST_GUESS_SECONDS = 10.0
"""What an answer is taken to last before the first has ended."""
LONGEST_SECONDS = 300.0
"""Latest time at which a client is told to come back: guesses beyond it are worth nothing."""

W = TypeVar("W", bound=Waiting)


def retry_after(line: Line[W], lane: Lane, ahead: Sequence[Waiting] = ()) -> float:
    """Estimate the whole seconds until a place is free for one more request behind `ahead`.

    As long as they all take, at the pace of those that run beside each other now.
    """
    answers = (lane, *(each.lane for each in ahead))
    seconds = sum(line.service(each) or FIRST_GUESS_SECONDS for each in answers)
    return float(min(LONGEST_SECONDS, max(1, math.ceil(seconds / max(1, line.running)))))


def refuse_key(settings: schema.Load, line: Line[W], lane: Lane, held: int) -> RateLimited:
    """Refuse a key that has `held` requests under way or waiting."""
    seconds = retry_after(line, lane)
    return RateLimited(
        f"This key has {held} requests under way or waiting, which is the limit "
        f"(load.key_concurrency = {settings.key_concurrency}). Try again in {seconds:g} s.",
        retry_after=seconds,
    )


def refuse_wait(
    settings: schema.Load, line: Line[W], waiter: W, limit: Limit, running: int
) -> RateLimited:
    """Refuse a request that is in line; `running`: answers under way over all backends."""
    seconds = retry_after(line, waiter.lane, line.ahead(waiter))
    if limit == "queue":
        crossed = f"The queue is full (load.queue = {settings.queue})"
    else:
        crossed = f"No place became free in time (load.queue_seconds = {settings.queue_seconds:g})"
    return RateLimited(
        f"{crossed}: {_obstacle(settings, line, waiter, running)}. Try again in {seconds:g} s.",
        retry_after=seconds,
    )


def _obstacle(settings: schema.Load, line: Line[W], waiter: W, running: int) -> str:
    if running >= settings.max_concurrency:
        return f"{running} answers are under way (load.max_concurrency = {running})"
    if line.running >= line.limit:
        return (
            f"the backend {line.name!r} is writing {line.running} answers "
            f"(its max_concurrency = {line.limit})"
        )
    if waiter.background:
        return f"people's requests come before background work on the backend {line.name!r}"
    return f"other models have their turn on the backend {line.name!r}, where not all fit at once"
