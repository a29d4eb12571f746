"""All breakers together: one for each model of each backend, and a bounded number of them."""

import pytest

from portal.runtime.admission.breaker import CircuitBreaker
from portal.runtime.admission.breakers import LONGEST_NAME, Breakers
from portal.runtime.ops import schema
from portal.shared.models import BreakerStatus
from tests.test_circuit_breaker import Clock

SETTINGS = schema.Breaker(failures=2, recovery_seconds=10)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breakers(clock: Clock) -> Breakers:
    return Breakers(SETTINGS, clock=clock, jitter=lambda: 0.0, most=16)


def fail(breaker: CircuitBreaker, times: int = 2) -> None:
    """Let calls fail one after the other."""
    for _ in range(times):
        permit = breaker.acquire()
        assert permit is not None
        permit.failed("refused")


def kept(breakers: Breakers, *names: str) -> list[bool]:
    """Tell which models of one backend are remembered."""
    return [breakers.find("b", name) is not None for name in names]


def flood(breakers: Breakers, count: int = 1000) -> None:
    """Ask for new names, as a hostile caller does."""
    for number in range(count):
        breakers.of("b", f"flood {number}")


def test_a_model_keeps_its_breaker_and_looking_makes_none(breakers: Breakers) -> None:
    assert breakers.find("b", "m") is None
    made = breakers.of("b", "m")

    assert breakers.of("b", "m") is made
    assert breakers.find("b", "m") is made
    assert len(breakers) == 1


def test_a_dead_model_blocks_neither_its_neighbours_nor_its_namesakes(breakers: Breakers) -> None:
    fail(breakers.of("b", "dead"))

    assert breakers.of("b", "dead").acquire() is None
    assert breakers.of("b", "alive").acquire() is not None
    assert breakers.of("other", "dead").acquire() is not None


def test_status_tells_of_one_backends_models_that_have_something_to_tell(
    breakers: Breakers,
) -> None:
    breakers.of("b", "fine")
    fail(breakers.of("b", "z open"))
    fail(breakers.of("b", "failing"), 1)
    breakers.of("b", "paused").pause(4, "429")
    fail(breakers.of("other", "open"))

    assert breakers.status("b") == (
        BreakerStatus("failing", "closed", 1, error="refused"),
        BreakerStatus("paused", "closed", retry_seconds=4, error="429"),
        BreakerStatus("z open", "open", 2, retry_seconds=10, error="refused"),
    )
    assert breakers.status("unknown") == ()


@pytest.mark.parametrize(
    ("backend", "model", "left"),
    [
        (None, None, []),
        ("b", None, ["c/x"]),
        ("b", "x", ["b/y", "c/x"]),
        (None, "x", ["b/y"]),
        ("d", None, ["b/x", "b/y", "c/x"]),
    ],
)
def test_reset_reaches_what_is_named_and_counts_what_had_a_reason(
    breakers: Breakers, backend: str | None, model: str | None, left: list[str]
) -> None:
    for where, name in (("b", "x"), ("b", "y"), ("c", "x")):
        fail(breakers.of(where, name))
    breakers.of("b", "fine")

    assert breakers.reset(backend, model) == 3 - len(left)
    still = [f"{each}/{told.model}" for each in ("b", "c") for told in breakers.status(each)]
    assert still == left


def test_those_whose_time_has_passed_are_due_for_a_probe(breakers: Breakers, clock: Clock) -> None:
    fail(breakers.of("b", "early"))
    clock.now += 5
    fail(breakers.of("b", "late"))
    breakers.of("b", "fine")
    assert list(breakers.due()) == []
    clock.now += 5
    assert list(breakers.due()) == [("b", "early")]

    breakers.of("b", "early").probe_failed("dead")
    clock.now += 5

    assert list(breakers.due()) == [("b", "late")]


def test_the_whole_knows_whether_any_is_open(breakers: Breakers, clock: Clock) -> None:
    fail(breakers.of("b", "failing"), 1)
    breakers.of("b", "paused").pause(60, "429")
    assert not breakers.any_open()
    fail(breakers.of("b", "dead"))
    assert breakers.any_open()

    clock.now += 10
    breakers.of("b", "dead").probe_passed()

    assert not breakers.any_open()


def test_a_flood_of_names_keeps_the_number_bounded(breakers: Breakers) -> None:
    flood(breakers)

    assert len(breakers) == 16


def test_a_flood_of_failing_names_keeps_the_number_bounded(breakers: Breakers) -> None:
    for number in range(100):
        fail(breakers.of("b", str(number)))

    assert len(breakers) == 16
    assert kept(breakers, "99", "0") == [True, False]


def test_of_clean_ones_the_longest_unused_go_first(breakers: Breakers) -> None:
    for number in range(16):
        breakers.of("b", str(number))
    breakers.of("b", "0")

    flood(breakers, 3)

    assert kept(breakers, "0", "1", "2", "3", "4") == [True, False, False, False, True]


def test_what_has_something_to_tell_outlives_what_has_not(breakers: Breakers, clock: Clock) -> None:
    fail(breakers.of("b", "half open"))
    clock.now += 10
    breakers.of("b", "half open").probe_passed()
    fail(breakers.of("b", "open"))
    fail(breakers.of("b", "failing"), 1)
    breakers.of("b", "paused").pause(60, "429")

    flood(breakers)

    assert kept(breakers, "half open", "open", "failing", "paused") == [True] * 4


def test_open_ones_are_dropped_last(breakers: Breakers, clock: Clock) -> None:
    names = ["half open", *"abcdefghijklm", "failing", "clean"]
    for name in names[:14]:
        fail(breakers.of("b", name))
    clock.now += 10
    breakers.of("b", "half open").probe_passed()
    fail(breakers.of("b", "failing"), 1)
    breakers.of("b", "clean")
    order = []
    for number in range(4):
        fail(breakers.of("b", f"new {number}"))
        order += [each for each in names if each not in order and not kept(breakers, each)[0]]

    assert order == ["clean", "failing", "half open", "a"]


def test_an_overlong_name_is_one_with_those_that_begin_alike(breakers: Breakers) -> None:
    long = "x" * LONGEST_NAME
    fail(breakers.of("b", long + "a" * 100_000))

    assert breakers.find("b", long + "other") is breakers.of("b", long)
    assert [len(told.model) for told in breakers.status("b")] == [LONGEST_NAME]
    assert breakers.reset("b", long + "more") == 1


def test_all_are_made_with_what_the_whole_was_given(clock: Clock) -> None:
    told: list[tuple[str, str, str]] = []
    breakers = Breakers(
        SETTINGS,
        clock=clock,
        jitter=lambda: 1.0,
        on_change=lambda *each: told.append(each),
        probe_seconds=3,
    )
    fail(breakers.of("b", "m"))

    assert told == [("b", "m", "open")]
    assert breakers.of("b", "m").retry_after == 8 + 3
