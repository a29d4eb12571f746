"""Whom a question goes to next as candidates fail: bounded, and to those that may still answer."""

from collections.abc import Callable

import pytest

from portal.runtime.agent.chain import Chain
from portal.shared.decisions import Candidate
from portal.shared.errors import (
    BackendBroken,
    BackendPaused,
    BackendRefused,
    BackendTimeout,
    BackendUnreachable,
    InvalidRequest,
    PortalError,
    RateLimited,
    UnsupportedField,
)

Failing = Callable[[Candidate], PortalError]
LARGE = [Candidate("ollama", f"m{number}", "best") for number in range(200)]
OTHER, OWN = Candidate("vllm", "other", "next"), Candidate("embedded", "own", "last resort")


def run(
    candidates: list[Candidate],
    failing: Failing,
    has_place: Callable[[Candidate], bool] = lambda _: True,
) -> tuple[list[str], Chain]:
    """Let every candidate fail; give the names of those that were asked."""
    chain, asked = Chain(candidates, has_place), []
    for candidate in chain:
        asked.append(candidate.name)
        chain.failed(candidate, failing(candidate))
    return asked, chain


def test_a_backend_that_cannot_be_reached_is_not_tried_with_its_other_models() -> None:
    asked, _ = run([*LARGE, OTHER, OWN], lambda _: BackendUnreachable("nobody there"))
    assert asked == ["ollama/m0", "vllm/other", "embedded/own"]


def test_a_backend_that_refuses_portals_key_is_not_tried_with_its_other_models() -> None:
    asked, _ = run([*LARGE, OTHER], lambda _: BackendRefused("wrong key", status=401))
    assert asked == ["ollama/m0", "vllm/other"]


@pytest.mark.parametrize("error", [BackendTimeout("slow"), BackendBroken("cut")])
def test_a_backend_that_fails_with_several_models_is_left_and_the_last_resort_asked(
    error: PortalError,
) -> None:
    asked, _ = run([*LARGE, OWN], lambda _: error)
    assert asked == ["ollama/m0", "ollama/m1", "ollama/m2", "embedded/own"]


def test_models_that_are_missing_never_block_their_neighbours() -> None:
    asked, _ = run(LARGE[:9], lambda _: BackendRefused("not pulled", status=404))
    assert len(asked) == 9


def test_who_was_sent_away_from_one_line_waits_in_no_other() -> None:
    asked, chain = run(
        [*LARGE, OTHER, OWN],
        lambda _: RateLimited("full", retry_after=7),
        has_place=lambda each: each.backend == "embedded",
    )
    assert asked == ["ollama/m0", "embedded/own"]
    assert isinstance(chain.error(), RateLimited)


def test_a_refusal_of_the_request_itself_goes_to_nobody_else() -> None:
    with pytest.raises(BackendRefused, match="no such role"):
        run([LARGE[0], OTHER], lambda _: BackendRefused("no such role", status=400))


def test_what_one_dialect_cannot_say_another_may() -> None:
    asked, chain = run([LARGE[0], OTHER], lambda each: InvalidRequest(f"{each.backend} cannot"))
    assert asked == ["ollama/m0", "vllm/other"]
    assert chain.error().message.startswith("vllm cannot")


def test_the_error_is_that_of_the_model_that_failed_not_of_the_one_that_could_not() -> None:
    errors: dict[str, PortalError] = {
        "ollama": BackendBroken("out of memory"),
        "vllm": BackendPaused("paused", retry_after=9),
        "embedded": UnsupportedField("sees no images"),
    }
    _, chain = run([LARGE[0], OTHER, OWN], lambda each: errors[each.backend])
    error = chain.error()
    assert isinstance(error, BackendBroken)
    assert error.message == (
        "out of memory Beside it failed vllm/other: paused; embedded/own: sees no images"
    )


def test_an_error_tells_of_few_others_however_many_there_were() -> None:
    _, chain = run(LARGE, lambda _: BackendPaused("left alone", retry_after=9))
    assert len(chain.failures) == 200
    message = chain.error().message
    assert message.endswith("; and 195 more")
    assert len(message) < 500


def test_where_all_are_paused_the_first_to_come_back_says_when() -> None:
    seconds = {"ollama": 40.0, "vllm": 5.0, "embedded": 90.0}
    _, chain = run(
        [LARGE[0], OTHER, OWN],
        lambda each: BackendPaused("paused", retry_after=seconds[each.backend]),
    )
    error = chain.error()
    assert isinstance(error, BackendPaused)
    assert error.retry_after == 5.0


def test_only_the_last_backend_is_worth_a_second_try() -> None:
    chain = Chain([LARGE[0], OTHER, OTHER], lambda _: True)
    assert [chain.is_last_backend(each) for each in chain] == [False, True, True]
