"""A pause that a server asked for: nothing is sent until its end, and nobody is blamed."""

import math

import pytest

from portal.runtime.admission.breaker import LONGEST_PAUSE, CircuitBreaker
from portal.shared.models import BreakerStatus
from tests.test_circuit_breaker import SETTINGS, Clock, half_opened, make, opened, permit


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return make(clock)


def test_a_pause_refuses_without_counting_as_a_failure(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    breaker.pause(7, "429 Too Many Requests")
    assert breaker.acquire() is None
    assert (breaker.retry_after, breaker.clean) == (7, False)
    assert breaker.status("qwen") == BreakerStatus(
        "qwen", "closed", retry_seconds=7, error="429 Too Many Requests"
    )

    clock.now += 7

    assert breaker.clean
    assert breaker.acquire() is not None
    assert breaker.status("qwen") == BreakerStatus("qwen", "closed")


def test_a_second_pause_may_lengthen_the_first_but_not_shorten_it(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    breaker.pause(5, "a while")
    breaker.pause(3, "less")
    assert breaker.retry_after == 5
    breaker.pause(8, "more")

    assert breaker.retry_after == 8
    assert breaker.status("qwen").error == "more"


@pytest.mark.parametrize("asked", [10**9, 1e300, math.inf])
def test_a_pause_of_years_is_cut_to_an_hour(breaker: CircuitBreaker, asked: float) -> None:
    breaker.pause(asked, "hostile")

    assert breaker.retry_after == LONGEST_PAUSE == 3600


@pytest.mark.parametrize("asked", [0, -5, -math.inf, math.nan])
def test_a_pause_of_no_time_is_none(breaker: CircuitBreaker, asked: float) -> None:
    breaker.pause(asked, "odd")

    assert breaker.clean
    assert breaker.acquire() is not None


@pytest.mark.parametrize(("seconds", "expected", "reason"), [(4, 10, "refused"), (30, 30, "429")])
def test_of_a_pause_and_a_recovery_the_later_end_counts(
    breaker: CircuitBreaker, clock: Clock, seconds: float, expected: float, reason: str
) -> None:
    opened(breaker)
    breaker.pause(seconds, "429")
    assert breaker.retry_after == expected
    assert breaker.status("qwen").error == reason
    clock.now += expected - 1
    assert breaker.acquire() is None
    assert not breaker.probe_due()

    clock.now += 1

    assert breaker.probe_due()
    assert breaker.acquire() is not None


def test_a_trial_that_is_told_to_wait_leaves_the_slot_free_for_later(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    half_opened(breaker, clock)
    with permit(breaker):
        breaker.pause(6, "429")
    assert breaker.acquire() is None

    clock.now += 6

    assert breaker.state == "half_open"
    held = [breaker.acquire() for _ in range(SETTINGS.half_open)]
    assert all(held)


def test_a_pause_outlasts_the_success_of_a_call_under_way(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    half_opened(breaker, clock)
    held = [permit(breaker), permit(breaker)]
    breaker.pause(6, "429")
    for each in held:
        each.succeeded()

    assert breaker.state == "closed"
    assert breaker.acquire() is None
    assert breaker.retry_after == 6


def test_many_calls_told_to_wait_make_one_line_of_log(
    breaker: CircuitBreaker, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(20):
        clock.now += 0.1
        breaker.pause(30, "429")

    assert caplog.messages == ["ollama/qwen pauses for 30.0 s: 429"]
