"""How the errors of routing reach a client: status, body and Retry-After."""

import math

import msgspec
import pytest

from portal.runtime.hosts.errors import answer_for, error_headers, openai_error
from portal.shared import errors


def body_of(error: Exception) -> dict[str, str | None]:
    """Decode the body in OpenAI's shape."""
    made: dict[str, dict[str, str | None]] = msgspec.json.decode(openai_error(error))
    return made["error"]


def test_a_need_that_no_model_meets_is_the_requests_fault() -> None:
    error = errors.NoCapableModel("No model here has vision.", param="messages")
    assert answer_for(error).status == 400
    assert error_headers(error) == []
    assert body_of(error) == {
        "message": "No model here has vision.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "no_capable_model",
    }


@pytest.mark.parametrize(
    ("seconds", "sent"), [(14.2, b"15"), (0.0, b"1"), (-1.0, b"1"), (math.inf, b"86400")]
)
def test_a_model_left_alone_is_503_and_says_when_to_come_back(seconds: float, sent: bytes) -> None:
    error = errors.BackendPaused("It failed 3 times.", backend="vllm", retry_after=seconds)
    assert answer_for(error).status == 503
    assert error_headers(error) == [(b"retry-after", sent)]
    assert body_of(error) == {
        "message": "It failed 3 times.",
        "type": "backend_error",
        "param": None,
        "code": "backend_paused",
    }


def test_a_full_queue_is_429_and_says_when_to_come_back() -> None:
    error = errors.RateLimited("All places are taken.", retry_after=3.4)
    assert answer_for(error).status == 429
    assert error_headers(error) == [(b"retry-after", b"4")]


def test_only_a_body_in_an_encoding_is_told_which_encoding_is_taken() -> None:
    packed = errors.WrongMediaType("Send it uncompressed.", param="content-encoding")
    assert error_headers(packed) == [(b"accept-encoding", b"identity")]
    assert error_headers(errors.WrongMediaType("Send application/json.")) == []
