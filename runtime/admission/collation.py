"""Who goes next to one backend: the line before it, and whose turn it is where models swap.

Pure: no I/O, and no clock but the times passed in. Owns who runs and who waits at one backend;
limits over all backends, and the waiting itself, are `load.py`'s.

People come before background work. Where no model displaces another, the line is served in the
order of arrival. Where some do, requests are collated: models have turns. A turn begins with the
first answer of a model, and while another model's request waits for it to end, it lasts `batch`
more answers or `batch_seconds`, whichever ends first. Then no more begin, those running finish,
and the turn goes to the oldest request of the others; what is left of the old turn's line queues
up behind all that wait at that moment. So a request at the head of its model's line waits for at
most one turn of each model that displaces its own, and for the answers that those began.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar, cast

from portal.runtime.admission.displacement import Displacement, Residents, Use
from portal.runtime.admission.lane import Lane, Waiting

LANES_KEPT = 256
"""Most models of a backend that are remembered; clients may name any."""

W = TypeVar("W", bound=Waiting)


class Line(Generic[W]):
    """Who runs and who waits at one backend.

    `name`: the backend's. `limit`: most answers at once, 0 for no limit; `share`: most of them
    that are background work; `room`: most models in flight at once, 0 to learn which fit.
    `numbers` counts arrivals, over all backends.
    """

    def __init__(
        self,
        name: str,
        *,
        limit: int,
        share: int,
        room: int,
        batch: int,
        batch_seconds: float,
        numbers: Iterator[int],
    ) -> None:
        self.name = name
        self.limit: float = limit or math.inf
        self.share = share
        self.room = room
        self.running = 0
        self.background_running = 0
        self.queued: dict[str, Lane] = {}
        """The lanes in which people wait."""
        self.background: deque[W] = deque()
        self.swaps = 0
        """How often a model had to make room for another, as far as turns tell."""
        self.swaps_by_arrival = 0
        """And how often it would have, had all gone in the order of arrival."""
        self.collating = room > 0
        self._batch = batch
        self._batch_seconds = batch_seconds
        self._numbers = numbers
        self._lanes: dict[str, Lane] = {}
        self._turns: dict[str, Lane] = {}
        """Lanes that run, or whose turn goes on while their requests wait; oldest turn first."""
        self._latest: Lane | None = None
        self._loaded: frozenset[str] = frozenset()
        self._displacement = Displacement()
        self._residents = Residents(self._displacement, room)
        self._by_arrival = Residents(self._displacement, room)

    @property
    def waiting(self) -> int:
        """People that wait."""
        return sum(len(lane.waiting) for lane in self.queued.values())

    def lane(self, model: str) -> Lane:
        """Give the lane of a model, a new one if need be."""
        return self._lanes.get(model) or self._open(model)

    def waiting_for(self, model: str) -> int:
        """Count the people that wait for a model."""
        lane = self.queued.get(model)
        return len(lane.waiting) if lane else 0

    def service(self, lane: Lane) -> float:
        """Tell the average seconds of a model's answer, or of all models'; 0 if none ended yet."""
        if lane.service:
            return lane.service
        known = [each.service for each in self._lanes.values() if each.service]
        return sum(known) / len(known) if known else 0.0

    def ahead(self, waiter: W) -> list[Waiting]:
        """List who stands before a request."""
        people = [each for lane in self.queued.values() for each in lane.waiting]
        before = [each for each in self.background if each.number < waiter.number]
        if waiter.background:
            return [*people, *before]
        return [each for each in people if each.number < waiter.number]

    def open_to(self, model: str) -> bool:
        """Tell whether a person's request may go at once, past nobody of equal claim."""
        if self.queued or self.running >= self.limit:
            return False
        return not self.collating or self._has_room(self.lane(model))

    def arrive(self, model: str) -> None:
        """Count a request in the order of arrival, whether or not it has to wait."""
        if self.collating and self._by_arrival.take(model):
            self.swaps_by_arrival += 1

    def join(self, waiter: W) -> None:
        """Put a request at the end of its line."""
        waiter.number = next(self._numbers)
        waiter.queued = True
        self.arrive(waiter.lane.model)
        if waiter.background:
            self.background.append(waiter)
            return
        for lane in self._turns.values():
            if self._rival(lane) is None:
                lane.taken = 0
        waiter.lane.waiting.append(waiter)
        self.queued[waiter.lane.model] = waiter.lane

    def drop(self, waiter: W) -> None:
        """Take a request out of its line; it must be in it."""
        waiter.queued = False
        if waiter.background:
            self.background.remove(waiter)
            return
        lane = waiter.lane
        lane.waiting.remove(waiter)
        if not lane.waiting:
            del self.queued[lane.model]
            if not lane.running:
                self._turns.pop(lane.model, None)

    def admit(self, waiter: W, now: float) -> None:
        """Let a request in line begin its answer."""
        # In this order: a lane that neither runs nor waits has lost its turn.
        self.begin(waiter.lane, now, waiter.background)
        self.drop(waiter)

    def begin(self, lane: Lane, now: float, background: bool = False) -> None:
        """Count an answer that begins."""
        self.running += 1
        if background:
            self.background_running += 1
        lane.running += 1
        self._latest = lane
        if lane.model not in self._turns:
            self._turns[lane.model] = lane
            lane.began = now
            lane.taken = 0
        if self.collating:
            if self.queued and self._rival(lane) is not None:
                lane.taken += 1
            if self._residents.take(lane.model):
                self.swaps += 1

    def end(self, lane: Lane, background: bool = False) -> None:
        """Count an answer that ended."""
        self.running -= 1
        if background:
            self.background_running -= 1
        lane.running -= 1
        if not lane.running and not lane.waiting:
            del self._turns[lane.model]

    def observe(self, loaded: frozenset[str], now: float) -> None:
        """Learn from what the backend has loaded now."""
        self._loaded = loaded
        uses = [Use(each.model, each.used, each.running > 0) for each in self._lanes.values()]
        if self._displacement.observe(loaded, uses, now):
            self.collating = self.room > 0 or bool(self._displacement)
            self._residents.reset(loaded)
            self._by_arrival.reset(loaded)

    def next(self, now: float) -> W | None:
        """Say who goes next, were there room over all backends; None: nobody may now.

        Turns that are used up and whose last answer has ended are closed on the way.
        """
        if self.running >= self.limit:
            return None
        if not self.queued:
            return self._next_in_background(now)
        if not self.collating:
            return self._head(min(self.queued.values(), key=Lane.place))
        self._close_turns(now)
        lane = self._lane_in_turn(now)
        return None if lane is None else self._head(lane)

    def _lane_in_turn(self, now: float) -> Lane | None:
        best: Lane | None = None
        passed: list[Lane] = []
        opened = False
        for lane in sorted(self.queued.values(), key=Lane.place):
            if lane.model in self._turns:
                may = self._first_of_its_turn(lane) and not self._used_up(lane, now)
            else:
                # One new turn at a time: two that fit each may not fit together.
                may = not opened and self._has_room(lane) and not self._displaces_any(lane, passed)
                opened = opened or may
            if not may:
                passed.append(lane)
            elif best is None or lane.waiting[0].number < best.waiting[0].number:
                # The place decides who has the next turn; among those who have one, arrival does.
                best = lane
        return best

    def _head(self, lane: Lane) -> W:
        return cast("W", lane.waiting[0])

    def _next_in_background(self, now: float) -> W | None:
        if not self.background or self.background_running >= self.share:
            return None
        oldest = self.background[0]
        if now - oldest.since >= self._batch_seconds:
            # It let loaded models pass for long enough: now all wait for its turn.
            return oldest if self._has_room(oldest.lane) else None
        able = [each for each in self.background if self._has_room(each.lane)]
        return next((each for each in able if self._warm(each.lane)), able[0] if able else None)

    def _warm(self, lane: Lane) -> bool:
        return lane.running > 0 or lane is self._latest or lane.model in self._loaded

    def _has_room(self, lane: Lane) -> bool:
        """Tell whether a model runs already, or fits beside those whose turn it is."""
        if not self.collating:
            return True
        if lane.model in self._turns:
            return self._first_of_its_turn(lane)
        if self.room and len(self._turns) >= self.room:
            return False
        return not self._displaces_any(lane, self._turns.values())

    def _first_of_its_turn(self, lane: Lane) -> bool:
        # Two may run already when it is learnt that they displace each other: the later yields.
        for other in self._turns.values():
            if other is lane:
                return True
            if self._displacement.between(lane.model, other.model):
                return False
        return True

    def _displaces_any(self, lane: Lane, others: Iterable[Lane]) -> bool:
        between = self._displacement.between
        return any(between(lane.model, other.model) for other in others)

    def _rival(self, lane: Lane) -> float | None:
        """Tell since when another model's request has waited for the end of this one's turn."""
        full = self.room > 0 and len(self._turns) >= self.room
        between = self._displacement.between
        return min(
            (
                other.waiting[0].since
                for other in self.queued.values()
                if other is not lane
                and ((full and other.model not in self._turns) or between(lane.model, other.model))
            ),
            default=None,
        )

    def _used_up(self, lane: Lane, now: float) -> bool:
        rival = self._rival(lane)
        if rival is None:
            return False
        # Counted from the turn's own start: where all have waited for long, every turn would
        # else be over at once, and swaps be most frequent when there is most to do.
        contested = max(rival, lane.began)
        return lane.taken >= self._batch or now - contested >= self._batch_seconds

    def _close_turns(self, now: float) -> None:
        for lane in list(self._turns.values()):
            if not lane.running and self._used_up(lane, now):
                del self._turns[lane.model]
                lane.floor = next(self._numbers)

    def _open(self, model: str) -> Lane:
        if len(self._lanes) >= LANES_KEPT:
            background = {waiter.lane.model for waiter in self.background}
            idle = [
                each
                for each in self._lanes.values()
                if not each.running and not each.waiting and each.model not in background
            ]
            for each in sorted(idle, key=lambda each: each.used)[: LANES_KEPT // 2]:
                del self._lanes[each.model]
        lane = self._lanes[model] = Lane(model)
        return lane
