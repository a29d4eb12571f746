"""Circuit breakers: a model that keeps failing is left alone for a while, and then tried with care.

Owns what is known about failures of each (backend, model), and nothing else: what counts as one is
decided where the answer is read, and nothing here sends, sleeps or keeps a timer. Time is looked
at when somebody asks. To be used from one event loop.
"""

import logging
import math
import random
import time
from collections.abc import Callable

from portal.runtime.admission.permit import Permit, Trial
from portal.runtime.ops import schema
from portal.shared.models import BreakerState, BreakerStatus

OnChange = Callable[[str, str, BreakerState], None]
"""Told (backend, model, new state) after each change of state; must not raise."""

JITTER = 0.2
"""Share of a recovery time by which it is shortened at random, lest many models return at once."""
LONGEST_PAUSE = 3600.0
"""Seconds; a Retry-After of years would take a model out of service for good."""
SHORTEST_RETRY = 0.1
"""Seconds told to those refused although nobody knows how long: somebody else is trying now."""
LONGEST_REASON = 200
"""Characters of a failure's reason that are kept and told."""

log = logging.getLogger("portal.breaker")


class CircuitBreaker:
    """The breaker of one model on one backend.

    CLOSED lets everything through and counts failures in a row. A success sets the count to 0,
    a release changes nothing. At `failures` of them it opens.

    OPEN lets nothing through for `recovery_seconds`, less a random part of up to a fifth. Each
    trial or probe that fails doubles that, up to `max_recovery_seconds`; closing starts it over.
    Once the time has passed, a cheap check from outside is due (`probe_due`) until its verdict:
    `probe_passed` makes it half-open, `probe_failed` prolongs it. A probe's verdict that comes
    when none is due counts for nothing. If no probe has decided within `probe_seconds` of that
    time, the next `acquire` makes it half-open itself, so that nobody needs to probe.

    HALF_OPEN lets at most `half_open` requests through at once. As many successes close it, one
    failure opens it again, prolonged; a released slot is free for the next.

    A verdict on a permit from before the last change of state, or before a reset, counts for
    nothing: it tells of a time that is over.

    A pause lets nothing through until its end, in any state and without counting as a failure;
    the later of its end and the recovery's counts. Requests under way keep their permits.
    """

    __slots__ = (
        "_clear",
        "_clock",
        "_error",
        "_failures",
        "_generation",
        "_jitter",
        "_on_change",
        "_pause_reason",
        "_paused_until",
        "_probe_seconds",
        "_recovery",
        "_settings",
        "_state",
        "_successes",
        "_taken",
        "_until",
        "backend",
        "model",
    )

    def __init__(
        self,
        settings: schema.Breaker,
        *,
        backend: str = "",
        model: str = "",
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        on_change: OnChange | None = None,
        probe_seconds: float = 0.0,
    ) -> None:
        self.backend = backend
        self.model = model
        self._settings = settings
        self._clock = clock
        self._jitter = jitter
        self._on_change = on_change
        self._probe_seconds = probe_seconds
        self._state: BreakerState = "closed"
        self._clear = True
        """Closed and not paused, so that a healthy model costs no look at the clock."""
        self._generation = 0
        self._failures = 0
        self._error = ""
        self._recovery = 0.0
        self._until = -math.inf
        self._paused_until = -math.inf
        self._pause_reason = ""
        self._taken = 0
        self._successes = 0

    @property
    def state(self) -> BreakerState:
        """The state; an open one whose time has passed stays open until somebody tries."""
        return self._state

    @property
    def retry_after(self) -> float:
        """Seconds until something may be let through; 0 where `acquire` would give a permit."""
        if self._clear:
            return 0.0
        now = self._clock()
        open_from = self._open_from()
        if now < open_from:
            return max(open_from - now, SHORTEST_RETRY)
        full = self._state == "half_open" and self._taken >= self._settings.half_open
        return SHORTEST_RETRY if full else 0.0

    @property
    def clean(self) -> bool:
        """Whether there is nothing to tell: closed, not paused, the last answer a success."""
        if self._state != "closed" or self._failures:
            return False
        return self._clear or self._clock() >= self._paused_until

    def acquire(self) -> Permit | None:
        """Give leave to send one request; None: refused now, `retry_after` says until when."""
        if self._clear:
            return Permit(self, self._generation)
        now = self._clock()
        if now < self._open_from():
            return None
        if self._state == "closed":
            self._clear = True
            return Permit(self, self._generation)
        if self._state == "open":
            self._half_open("its time has passed")
        if self._taken >= self._settings.half_open:
            return None
        self._taken += 1
        return Trial(self, self._generation)

    def pause(self, seconds: float, reason: str) -> None:
        """Let nothing through for so long, one hour at most; never shortens a pause."""
        if not seconds > 0:  # NaN, too, is no time at all
            return
        seconds = min(seconds, LONGEST_PAUSE)
        now = self._clock()
        if now + seconds <= self._paused_until:
            return
        # Many answers may ask for the same pause at once: one line tells of it.
        if now >= self._paused_until:
            log.warning("%s pauses for %.1f s: %s", self._name(), seconds, _line(reason))
        self._paused_until = now + seconds
        self._pause_reason = _line(reason)
        self._clear = False

    def probe_due(self) -> bool:
        """Tell whether a cheap check should now decide if the model is worth a request."""
        return self._state == "open" and self._clock() >= self._tried_from()

    def probe_passed(self) -> None:
        """Say that the check succeeded: the next requests are trials."""
        if self.probe_due():
            self._half_open("a check passed")

    def probe_failed(self, reason: str) -> None:
        """Say that it did not, and why: the model is left alone for longer."""
        if self.probe_due():
            self._error = _line(reason)
            self._open("a check failed")

    def reset(self) -> None:
        """Close it and forget failures, pause and permits under way, since a person said so."""
        if not self.clean:
            log.info("%s is reset by hand; requests go to it again", self._name())
        self._paused_until = -math.inf
        self._close()

    def status(self, model: str) -> BreakerStatus:
        """Tell how it stands, under that name; `retry_seconds` is 0 where it may be tried now."""
        now = self._clock()
        tried_from = self._tried_from()
        paused = now < self._paused_until == tried_from
        return BreakerStatus(
            model,
            self._state,
            self._failures,
            max(tried_from - now, 0.0),
            self._pause_reason if paused else self._error,
        )

    def _tried_from(self) -> float:
        """When it may be tried at all, be it by a probe."""
        if self._state == "open":
            return max(self._until, self._paused_until)
        return self._paused_until

    def _open_from(self) -> float:
        """When requests may try it."""
        if self._state == "open":
            return self._tried_from() + self._probe_seconds
        return self._paused_until

    def settle_success(self, generation: int) -> None:
        """Take a permit's verdict; this and the next three are for permits alone."""
        if generation != self._generation:
            return
        self._failures = 0
        self._error = ""
        if self._state != "half_open":
            return
        self._taken -= 1
        self._successes += 1
        if self._successes >= self._settings.half_open:
            log.info("%s works again", self._name())
            self._close()

    def settle_failure(self, generation: int, reason: str) -> None:
        """Take a permit's verdict, and why."""
        if generation != self._generation:
            return
        self._failures += 1
        self._error = _line(reason)
        if self._state == "half_open":
            self._open("a trial failed")
        elif self._failures >= self._settings.failures:
            self._open(f"it failed {self._failures} times in a row")

    def settle_release(self, generation: int) -> None:
        """Take a permit back that has no verdict."""
        if generation == self._generation and self._state == "half_open":
            self._taken -= 1

    def free_slots(self, generation: int, slots: int) -> None:
        """Let so many more trials begin, or fewer."""
        if generation == self._generation and self._state == "half_open":
            self._taken -= slots

    def _open(self, why: str) -> None:
        settings = self._settings
        longer = self._recovery * 2 if self._recovery else settings.recovery_seconds
        self._recovery = min(longer, settings.max_recovery_seconds)
        alone = self._recovery * (1 - JITTER * self._jitter())
        self._until = self._clock() + alone
        told = (self._name(), alone, why, self._error)
        log.warning("%s is left alone for %.1f s, as %s: %s", *told)
        self._enter("open")

    def _half_open(self, why: str) -> None:
        log.info("%s is tried again, as %s", self._name(), why)
        self._enter("half_open")

    def _close(self) -> None:
        self._failures = 0
        self._error = ""
        self._recovery = 0.0
        self._enter("closed")

    def _enter(self, state: BreakerState) -> None:
        changed = state != self._state
        self._state = state
        self._clear = False  # `acquire` finds out whether a pause is left
        self._generation += 1
        self._taken = 0
        self._successes = 0
        if changed and self._on_change is not None:
            self._on_change(self.backend, self.model, state)

    def _name(self) -> str:
        return _line(f"{self.backend}/{self.model}")


def _line(text: str) -> str:
    """Make one short line of what a server or a caller wrote, fit for a log."""
    shown = "".join(each if each.isprintable() else " " for each in text[:LONGEST_REASON])
    return " ".join(shown.split())
