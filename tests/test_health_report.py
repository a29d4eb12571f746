"""What counts as a problem, and what does not."""

from typing import Any

import pytest

from portal.runtime.backends.embedded_server import NO_EXTRA, NO_WEIGHTS, SWITCHED_OFF
from portal.runtime.ops.health import find_problems
from portal.shared.models import BackendStatus


def backend(name: str = "a", state: str = "live", **more: Any) -> BackendStatus:
    """Make a status."""
    fields: dict[str, Any] = {"kind": "ollama", "url": "u", "configured": True, "models": 1, **more}
    return BackendStatus(name=name, state=state, **fields)  # type: ignore[arg-type]  # of a test


def test_a_live_backend_with_models_is_no_problem() -> None:
    assert find_problems([backend()]) == []


def test_a_dead_backend_is_a_problem_even_when_another_answers() -> None:
    found = find_problems([backend(), backend("b", "dead", error="It refused.")])
    assert found == ["The backend b is down. It refused."]


def test_a_neighbour_that_is_absent_is_no_problem() -> None:
    assert find_problems([backend(), backend("b", "absent", configured=False, models=0)]) == []


def test_a_live_backend_without_models_is_a_problem() -> None:
    found = find_problems([backend(models=0), backend("b")])
    assert found == ["The backend a has no models."]


def test_a_standby_embedded_model_is_enough() -> None:
    assert find_problems([backend("embedded", "standby", kind="embedded")]) == []


def test_a_missing_embedded_model_matters_only_when_nothing_else_answers() -> None:
    missing = backend("embedded", "absent", kind="embedded", models=0, error="Install it.")
    assert find_problems([backend(), missing]) == []
    assert find_problems([missing]) == ["No model can answer. Install it."]


@pytest.mark.parametrize("reason", [NO_EXTRA, NO_WEIGHTS, SWITCHED_OFF])
def test_why_the_embedded_model_is_missing_is_a_sentence_of_its_own(reason: str) -> None:
    missing = backend("embedded", "absent", kind="embedded", models=0, error=reason)
    (problem,) = find_problems([missing])
    assert all(sentence[0].isupper() for sentence in problem.split(". "))


def test_nothing_at_all_is_a_problem() -> None:
    assert "No model can answer" in find_problems([])[0]


def test_a_backend_not_heard_of_yet_is_told_as_such() -> None:
    assert find_problems([backend(state="unknown", models=0)]) == ["No backend has answered yet."]
