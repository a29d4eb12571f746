"""One model's circuit breaker: when it opens, when it is tried again, and what closes it."""

import logging

import pytest

from portal.runtime.admission.breaker import (
    LONGEST_REASON,
    SHORTEST_RETRY,
    CircuitBreaker,
)
from portal.runtime.admission.permit import Permit
from portal.runtime.ops import schema
from portal.shared.models import BreakerState, BreakerStatus

SETTINGS = schema.Breaker(failures=3, recovery_seconds=10, max_recovery_seconds=35, half_open=2)


class Clock:
    """A clock that the test winds by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return make(clock)


def make(
    clock: Clock,
    settings: schema.Breaker = SETTINGS,
    *,
    jitter: float = 0.0,
    probe_seconds: float = 0.0,
) -> CircuitBreaker:
    """Make a breaker whose recovery times are exact unless told otherwise."""
    return CircuitBreaker(
        settings,
        backend="ollama",
        model="qwen",
        clock=clock,
        jitter=lambda: jitter,
        probe_seconds=probe_seconds,
    )


def permit(breaker: CircuitBreaker) -> Permit:
    """Acquire where leave must be given."""
    given = breaker.acquire()
    assert given is not None, f"refused while {breaker.state}"
    return given


def state(breaker: CircuitBreaker) -> BreakerState:
    """Read the state anew; mypy takes a property for unchanged between two looks."""
    return breaker.state


def fail(breaker: CircuitBreaker, times: int = 1, reason: str = "refused") -> None:
    """Let calls fail one after the other."""
    for _ in range(times):
        permit(breaker).failed(reason)


def opened(breaker: CircuitBreaker) -> CircuitBreaker:
    """Let it fail until it opens."""
    fail(breaker, SETTINGS.failures)
    assert state(breaker) == "open"
    return breaker


def half_opened(breaker: CircuitBreaker, clock: Clock) -> CircuitBreaker:
    """Let it open, and its time pass, and a check succeed."""
    opened(breaker)
    clock.now += SETTINGS.recovery_seconds
    breaker.probe_passed()
    assert state(breaker) == "half_open"
    return breaker


def test_a_new_breaker_is_closed_and_lets_everything_through(breaker: CircuitBreaker) -> None:
    permits = [breaker.acquire() for _ in range(100)]

    assert all(permits)
    assert (breaker.state, breaker.retry_after, breaker.clean) == ("closed", 0.0, True)


def test_it_opens_at_the_failure_that_reaches_the_threshold(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    assert state(breaker) == "closed"

    fail(breaker)

    assert state(breaker) == "open"
    assert breaker.acquire() is None


def test_a_success_starts_the_count_over(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    permit(breaker).succeeded()
    fail(breaker, 2)

    assert state(breaker) == "closed"
    assert breaker.status("qwen").failures == 2


def test_a_released_call_counts_as_nothing(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    permit(breaker).release()
    assert breaker.status("qwen").failures == 2

    fail(breaker)

    assert state(breaker) == "open"


@pytest.mark.parametrize("later", ["succeeded", "release", "failed"])
def test_only_the_first_verdict_on_a_permit_counts(breaker: CircuitBreaker, later: str) -> None:
    given = permit(breaker)
    given.failed("first")
    given.failed("again") if later == "failed" else getattr(given, later)()

    assert breaker.status("qwen") == BreakerStatus("qwen", "closed", failures=1, error="first")


def test_a_permit_is_released_when_its_block_is_left(breaker: CircuitBreaker, clock: Clock) -> None:
    half_opened(breaker, clock)
    held = []
    for _ in range(5):
        with permit(breaker) as first, permit(breaker) as second:
            assert breaker.acquire() is None
            held += [first, second]
    held += [permit(breaker), permit(breaker)]
    with pytest.raises(ZeroDivisionError), held[-1], held[-2]:
        raise ZeroDivisionError

    assert state(breaker) == "half_open"
    assert breaker.retry_after == 0


def test_a_verdict_within_the_block_stands(breaker: CircuitBreaker) -> None:
    for _ in range(SETTINGS.failures):
        with permit(breaker) as given:
            given.failed("cut")

    assert state(breaker) == "open"


def test_an_open_breaker_lets_nothing_through_before_its_time(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    opened(breaker)
    clock.now += 9.5

    assert breaker.acquire() is None
    assert breaker.retry_after == 0.5
    assert not breaker.probe_due()


def test_after_its_time_a_request_itself_makes_it_half_open(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    opened(breaker)
    clock.now += 10
    assert breaker.retry_after == 0

    permit(breaker)

    assert state(breaker) == "half_open"


@pytest.mark.parametrize(("jitter", "alone"), [(0.0, 10.0), (0.5, 9.0), (1.0, 8.0)])
def test_jitter_shortens_the_recovery_by_a_fifth_at_most(
    clock: Clock, jitter: float, alone: float
) -> None:
    breaker = opened(make(clock, jitter=jitter))

    assert breaker.retry_after == pytest.approx(alone)


def test_each_failed_trial_doubles_the_recovery_up_to_the_longest(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    opened(breaker)
    waits = []
    for _ in range(5):
        waits.append(breaker.retry_after)
        clock.now += breaker.retry_after
        fail(breaker)

    assert waits == [10, 20, 35, 35, 35]


def test_closing_makes_the_next_recovery_short_again(breaker: CircuitBreaker, clock: Clock) -> None:
    half_opened(breaker, clock)
    fail(breaker)
    clock.now += 20
    for _ in range(SETTINGS.half_open):
        permit(breaker).succeeded()
    assert state(breaker) == "closed"

    opened(breaker)

    assert breaker.retry_after == 10


def test_a_recovery_longer_than_the_longest_is_cut_to_it(clock: Clock) -> None:
    breaker = make(clock, schema.Breaker(failures=1, recovery_seconds=50, max_recovery_seconds=5))
    fail(breaker)

    assert breaker.retry_after == 5


def test_half_open_gives_exactly_as_many_permits_as_set(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    half_opened(breaker, clock)
    first, _second = permit(breaker), permit(breaker)
    assert breaker.acquire() is None
    assert breaker.retry_after == SHORTEST_RETRY

    first.release()

    assert breaker.retry_after == 0
    _third = permit(breaker)
    assert breaker.acquire() is None


def test_a_permit_that_its_holder_lost_gives_its_slot_back(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    half_opened(breaker, clock)
    held = [permit(breaker) for _ in range(SETTINGS.half_open)]
    assert breaker.acquire() is None

    held.clear()

    assert breaker.acquire() is not None


def test_as_many_successes_as_permits_close_it(breaker: CircuitBreaker, clock: Clock) -> None:
    half_opened(breaker, clock)
    permit(breaker).succeeded()
    permit(breaker).release()
    assert state(breaker) == "half_open"

    permit(breaker).succeeded()

    assert state(breaker) == "closed"
    assert breaker.clean
    assert breaker.status("qwen") == BreakerStatus("qwen", "closed")


def test_a_trial_that_succeeded_makes_room_for_the_next(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    half_opened(breaker, clock)
    permit(breaker).succeeded()

    held = [breaker.acquire() for _ in range(SETTINGS.half_open + 1)]

    assert [each is not None for each in held] == [True, True, False]


def test_one_failed_trial_opens_it_again(breaker: CircuitBreaker, clock: Clock) -> None:
    half_opened(breaker, clock)
    permit(breaker).succeeded()
    fail(breaker, reason="still dead")

    assert breaker.status("qwen") == BreakerStatus(
        "qwen", "open", failures=1, retry_seconds=20, error="still dead"
    )


@pytest.mark.parametrize("verdict", ["succeeded", "release", "failed"])
def test_a_late_verdict_from_before_it_opened_counts_as_nothing(
    breaker: CircuitBreaker, clock: Clock, verdict: str
) -> None:
    late = [permit(breaker) for _ in range(4)]
    half_opened(breaker, clock)
    held = [permit(breaker), permit(breaker)]
    before = breaker.status("qwen")

    for each in late:
        each.failed("late") if verdict == "failed" else getattr(each, verdict)()

    assert breaker.status("qwen") == before
    assert breaker.acquire() is None, "a late verdict gave a slot back that it never held"
    assert len(held) == SETTINGS.half_open


def test_a_late_trial_does_not_disturb_the_next_half_open_period(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    half_opened(breaker, clock)
    late = permit(breaker)
    fail(breaker)
    clock.now += 20
    held = [permit(breaker), permit(breaker)]

    late.succeeded()

    assert breaker.acquire() is None
    held[0].succeeded()
    assert state(breaker) == "half_open"
    held[1].succeeded()
    assert state(breaker) == "closed"


def test_a_probe_is_due_from_its_time_until_its_verdict(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    assert not breaker.probe_due()
    opened(breaker)
    assert not breaker.probe_due()
    clock.now += 10
    assert [breaker.probe_due(), breaker.probe_due()] == [True, True]

    breaker.probe_passed()

    assert not breaker.probe_due()
    assert state(breaker) == "half_open"


def test_a_failed_probe_prolongs_the_recovery(breaker: CircuitBreaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += 10
    breaker.probe_failed("no answer to /api/tags")

    assert not breaker.probe_due()
    assert breaker.status("qwen") == BreakerStatus(
        "qwen", "open", failures=3, retry_seconds=20, error="no answer to /api/tags"
    )


def test_a_probe_nobody_waits_for_changes_nothing(breaker: CircuitBreaker, clock: Clock) -> None:
    for _ in range(SETTINGS.failures):
        breaker.probe_failed("too early")
        breaker.probe_passed()
    assert state(breaker) == "closed"
    opened(breaker)
    breaker.probe_passed()
    breaker.probe_failed("too early")
    assert breaker.retry_after == 10
    clock.now += 10
    _trial = permit(breaker)
    breaker.probe_failed("too late")

    assert state(breaker) == "half_open"


def test_a_probe_has_a_head_start_over_requests_but_no_more(clock: Clock) -> None:
    breaker = opened(make(clock, probe_seconds=4))
    clock.now += 10
    assert breaker.probe_due()
    assert breaker.acquire() is None
    assert breaker.retry_after == 4
    assert breaker.status("qwen").retry_seconds == 0

    clock.now += 4

    assert breaker.acquire() is not None


def test_reset_closes_it_at_once_and_forgets_everything(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    opened(breaker)
    breaker.pause(60, "429")

    breaker.reset()

    assert breaker.status("qwen") == BreakerStatus("qwen", "closed")
    assert (breaker.acquire() is None, breaker.retry_after) == (False, 0)


def test_calls_from_before_a_reset_count_as_nothing(breaker: CircuitBreaker) -> None:
    late = [permit(breaker) for _ in range(SETTINGS.failures)]
    breaker.reset()
    for each in late:
        each.failed("from before")

    assert breaker.clean


def test_each_change_of_state_is_told_and_logged_in_one_line(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[str, str, BreakerState]] = []
    breaker = CircuitBreaker(
        SETTINGS,
        backend="ollama",
        model="qwen",
        clock=clock,
        jitter=lambda: 0.0,
        on_change=lambda *each: told.append(each),
    )
    caplog.set_level(logging.INFO, "portal.breaker")
    fail(breaker, 3, "connection refused")
    clock.now += 10
    for _ in range(SETTINGS.half_open):
        permit(breaker).succeeded()

    assert told == [("ollama", "qwen", each) for each in ("open", "half_open", "closed")]
    assert caplog.messages == [
        "ollama/qwen is left alone for 10.0 s, as it failed 3 times in a row: connection refused",
        "ollama/qwen is tried again, as its time has passed",
        "ollama/qwen works again",
    ]


def test_what_is_not_a_change_of_state_is_not_told(clock: Clock) -> None:
    told: list[BreakerState] = []
    breaker = CircuitBreaker(
        SETTINGS,
        clock=clock,
        jitter=lambda: 0.0,
        on_change=lambda backend, model, state: told.append(state),
    )
    breaker.reset()
    assert told == []
    opened(breaker)
    clock.now += 10
    breaker.probe_failed("no answer")
    breaker.pause(60, "429")

    assert told == ["open"]


def test_a_hostile_reason_makes_one_short_printable_line(
    breaker: CircuitBreaker, caplog: pytest.LogCaptureFixture
) -> None:
    opened_by = "bad\r\nFAKE line \x1b[31m\ud800 " + "x" * 10_000_000
    fail(breaker, SETTINGS.failures, opened_by)

    error = breaker.status("qwen").error
    assert error.startswith("bad FAKE line [31m x")
    assert error.isprintable()
    assert len(error) <= LONGEST_REASON
    assert caplog.messages[0].endswith(error)


def test_a_trial_that_has_begun_lets_the_next_begin_and_still_decides(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    half_opened(breaker, clock)
    first, second = permit(breaker), permit(breaker)
    assert breaker.acquire() is None
    first.began()
    first.began()
    third = permit(breaker)
    assert breaker.acquire() is None
    third.release()
    second.succeeded()
    assert state(breaker) == "half_open"
    first.failed("broke in the middle")
    assert state(breaker) == "open"


def test_trials_that_began_and_ended_well_close_it_with_every_slot_given_back(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    half_opened(breaker, clock)
    for _ in range(SETTINGS.half_open):
        trial = permit(breaker)
        trial.began()
        trial.succeeded()
    assert state(breaker) == "closed"
    half_opened(breaker, clock)
    held = [breaker.acquire() for _ in range(3)]
    assert [each is not None for each in held] == [True, True, False]


def test_a_trial_that_began_and_was_left_gives_back_no_more_than_its_slot(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    half_opened(breaker, clock)
    trial = permit(breaker)
    trial.began()
    trial.release()
    held = [breaker.acquire() for _ in range(3)]
    assert [each is not None for each in held] == [True, True, False]
