"""Whatever happens to a breaker, in whatever order, its promises hold.

The model below is told each event and keeps its own books, in the plainest way there is: lists of
permits by the period in which they were given, and the times before which nothing may pass.
"""

import logging

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from portal.runtime.admission.breaker import JITTER, LONGEST_PAUSE, CircuitBreaker
from portal.runtime.admission.permit import Permit
from portal.runtime.ops import schema
from portal.shared.models import BreakerState

VERDICTS = st.sampled_from(["succeeded", "failed", "release"])
EPSILON = 1e-6


class Given:
    """A permit, and the period between two changes of state in which it was given."""

    def __init__(self, permit: Permit, period: int) -> None:
        self.permit = permit
        self.period = period
        self.judged = False


class BreakerLife(RuleBasedStateMachine):
    """A breaker, a clock, a server that may do anything, and books of what is allowed."""

    permits = Bundle("permits")

    @initialize(
        failures=st.integers(1, 3),
        recovery=st.integers(1, 20),
        longest=st.integers(1, 100),
        half_open=st.integers(1, 4),
        probe_seconds=st.sampled_from([0, 3]),
    )
    def begin(
        self, failures: int, recovery: int, longest: int, half_open: int, probe_seconds: int
    ) -> None:
        self.now = 1000.0
        self.roll = 0.0
        self.settings = schema.Breaker(failures, recovery, longest, half_open)
        self.probe_seconds = probe_seconds
        self.changes: list[BreakerState] = []
        self.breaker = CircuitBreaker(
            self.settings,
            backend="b",
            model="m",
            clock=lambda: self.now,
            jitter=lambda: self.roll,
            on_change=lambda backend, model, state: self.changes.append(state),
            probe_seconds=probe_seconds,
        )
        self.state: BreakerState = "closed"
        self.period = 0
        self.out: list[Given] = []
        self.in_a_row = 0
        self.successes = 0
        self.times_opened = 0
        self.earliest = 0.0
        self.paused_until = 0.0

    # What the books say

    def changed(self, state: BreakerState) -> None:
        """Note a change of state that must have happened, and just now."""
        assert self.changes == [state]
        self.changes.clear()
        self.state = state
        self.begin_period()

    def begin_period(self) -> None:
        """From now on, verdicts on earlier permits count for nothing."""
        self.period += 1
        self.out = []
        self.successes = 0

    def opens(self) -> None:
        """Note that it must have opened, and for how long at least and at most."""
        self.changed("open") if self.state != "open" else self.begin_period()
        base, longest = self.settings.recovery_seconds, self.settings.max_recovery_seconds
        alone = min(base * 2**self.times_opened, longest)
        self.times_opened += 1
        self.earliest = self.now + alone * (1 - JITTER * self.roll)
        assert self.earliest - self.now <= longest + EPSILON

    def closes(self) -> None:
        """Note that it must have closed."""
        self.changed("closed")
        self.in_a_row = self.times_opened = 0

    def may_be_tried(self) -> bool:
        """Tell whether pause and recovery are over."""
        recovered = self.state != "open" or self.now >= self.earliest
        return recovered and self.now >= self.paused_until

    def may_be_asked(self) -> bool:
        """Tell whether a request must be let through."""
        if self.state == "half_open" and len(self.out) >= self.settings.half_open:
            return False
        if self.state != "open":
            return self.now >= self.paused_until
        return self.now >= max(self.earliest, self.paused_until) + self.probe_seconds

    # What may happen

    @rule(target=permits)
    def acquire(self) -> Given | MultipleResults[Given]:
        return self._acquire() or multiple()

    def _acquire(self) -> Given | None:
        allowed = self.may_be_asked()
        wait = self.breaker.retry_after
        permit = self.breaker.acquire()
        assert (permit is not None) == allowed
        assert (wait == 0) == allowed
        if permit is None:
            return None
        if self.state == "open":
            self.changed("half_open")
        given = Given(permit, self.period)
        self.out.append(given)
        return given

    @rule(given=consumes(permits), verdicts=st.lists(VERDICTS, min_size=1, max_size=2))
    def judge(self, given: Given, verdicts: list[str]) -> None:
        for verdict in verdicts:
            self._judge(given, verdict)

    @rule(given=consumes(permits), verdict=VERDICTS | st.none())
    def leave_the_block(self, given: Given, verdict: str | None) -> None:
        with given.permit:
            if verdict is not None:
                self._judge(given, verdict)
        self._note(given, "release")

    def _judge(self, given: Given, verdict: str) -> None:
        match verdict:
            case "succeeded":
                given.permit.succeeded()
            case "failed":
                given.permit.failed("broken")
            case _:
                given.permit.release()
        self._note(given, verdict)

    def _note(self, given: Given, verdict: str) -> None:
        late = given.judged or given.period != self.period
        given.judged = True
        if late:
            return
        self.out.remove(given)
        if verdict == "succeeded":
            self.in_a_row = 0
            self.successes += 1
            if self.state == "half_open" and self.successes == self.settings.half_open:
                self.closes()
        elif verdict == "failed":
            self.in_a_row += 1
            if self.state == "half_open" or self.in_a_row == self.settings.failures:
                self.opens()

    @rule(seconds=st.integers(0, 40) | st.floats(0, 5))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    # Without the next three, chance would seldom lead to where it is interesting.

    @precondition(lambda self: not self.may_be_asked())
    @rule(head_start=st.booleans(), off=st.sampled_from([-EPSILON, 0.0, 0.0, EPSILON]))
    def time_passes_to_an_edge(self, head_start: bool, off: float) -> None:
        edge = max(self.earliest if self.state == "open" else 0.0, self.paused_until)
        if self.state == "open" and head_start:
            edge += self.probe_seconds
        self.now = max(self.now, edge + off)

    @precondition(lambda self: self.state != "open" and self.may_be_asked())
    @rule()
    def calls_fail_until_it_opens(self) -> None:
        while self.state != "open":
            given = self._acquire()
            assert given is not None
            self._judge(given, "failed")

    @precondition(lambda self: self.state != "closed")
    @rule(target=permits, tries=st.integers(1, 4))
    def it_is_tried_as_soon_as_it_may(self, tries: int) -> MultipleResults[Given]:
        edge = max(self.paused_until, self.earliest) + self.probe_seconds
        self.now = max(self.now, edge)
        given = [self._acquire() for _ in range(tries)]
        return multiple(*[each for each in given if each is not None])

    @rule(roll=st.floats(0, 1, exclude_max=True))
    def chance(self, roll: float) -> None:
        self.roll = roll

    @rule(seconds=st.integers(-1, 60) | st.just(float("inf")) | st.just(float("nan")))
    def pause(self, seconds: float) -> None:
        self.breaker.pause(seconds, "429")
        if seconds > 0:
            until = self.now + min(seconds, LONGEST_PAUSE)
            self.paused_until = max(self.paused_until, until)

    @rule()
    def reset(self) -> None:
        self.breaker.reset()
        self.paused_until = 0.0
        if self.state == "closed":
            self.begin_period()
            self.in_a_row = 0
        else:
            self.closes()

    @rule(passed=st.booleans())
    def probe(self, passed: bool) -> None:
        due = self.state == "open" and self.may_be_tried()
        assert self.breaker.probe_due() == due
        if passed:
            self.breaker.probe_passed()
        else:
            self.breaker.probe_failed("no answer")
        if due and passed:
            self.changed("half_open")
        elif due:
            self.opens()

    # What must always hold

    @invariant()
    def it_is_in_the_state_that_the_books_say_and_told_of_every_change(self) -> None:
        assert self.breaker.state == self.state
        assert self.changes == []

    @invariant()
    def half_open_never_has_more_out_than_set(self) -> None:
        assert self.state != "half_open" or len(self.out) <= self.settings.half_open

    @invariant()
    def no_slot_is_lost_or_given_twice(self) -> None:
        assert (self.breaker.retry_after == 0) == self.may_be_asked()

    @invariant()
    def status_agrees_with_everything_else(self) -> None:
        told = self.breaker.status("m")
        assert (told.model, told.state) == ("m", self.state)
        assert told.failures == self.in_a_row
        assert (told.retry_seconds > 0) == (not self.may_be_tried())
        assert 0 <= self.breaker.retry_after <= LONGEST_PAUSE + self.probe_seconds + EPSILON
        assert self.breaker.retry_after >= told.retry_seconds
        nothing = self.state == "closed" and not self.in_a_row and self.may_be_tried()
        assert self.breaker.clean == nothing
        assert nothing == (told.retry_seconds == 0 and not told.error and told.state == "closed")

    def teardown(self) -> None:
        """However it went, a model that answers again is closed within its longest wait."""
        if not hasattr(self, "breaker"):
            return
        for given in list(self.out):
            given.permit.release()
        self.now += LONGEST_PAUSE + self.settings.max_recovery_seconds + self.probe_seconds
        for _ in range(self.settings.half_open):
            permit = self.breaker.acquire()
            assert permit is not None
            permit.succeeded()
        assert self.breaker.state == "closed"
        assert self.breaker.clean


def test_a_breaker_keeps_its_promises_whatever_happens(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "portal.breaker")  # thousands of lines, of no use here

    run_state_machine_as_test(
        BreakerLife, settings=settings(max_examples=150, stateful_step_count=50, deadline=None)
    )
