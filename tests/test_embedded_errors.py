"""The embedded model's refusals are Portal's errors: its codes, its shape, no child to be seen."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.runtime.backends.embedded_errors import error_of
from portal.runtime.hosts.errors import answer_for, openai_error
from portal.shared.errors import PortalError


def wire(status: int, kind: str, message: str = "what it says", **more: Any) -> bytes:
    """Write an error as llama.cpp's server does: with a number as its code."""
    error = {"code": status, "message": message, "type": kind, **more}
    return msgspec.json.encode({"error": error})


@pytest.mark.parametrize(
    ("status", "kind", "answered", "code"),
    [
        (400, "invalid_request_error", 400, "invalid_request"),
        (400, "exceed_context_size_error", 400, "context_length_exceeded"),
        (501, "not_supported_error", 400, "unsupported_field"),
        (401, "authentication_error", 502, "backend_refused"),
        (404, "not_found_error", 404, "backend_refused"),
        (500, "server_error", 502, "backend_refused"),
        (503, "unavailable_error", 502, "backend_refused"),
    ],
)
def test_its_own_words_come_in_portals_shape(
    status: int, kind: str, answered: int, code: str
) -> None:
    error = error_of(status, wire(status, kind))
    assert answer_for(error).status == answered
    assert "what it says" in error.message
    assert msgspec.json.decode(openai_error(error))["error"]["code"] == code


def test_a_prompt_too_long_is_told_in_numbers() -> None:
    body = wire(400, "exceed_context_size_error", n_prompt_tokens=5000, n_ctx=4096)
    assert error_of(400, body).message == (
        "The prompt has 5000 tokens; the embedded model takes in 4096 (embedded.context_window)."
    )


@given(st.integers(400, 599), st.binary() | st.text().map(str.encode))
def test_any_body_makes_an_error(status: int, body: bytes) -> None:
    error = error_of(status, body)
    assert isinstance(error, PortalError)
    assert error.message.strip()
    openai_error(error)


def test_deep_nesting_is_no_trap() -> None:
    assert answer_for(error_of(400, b"[" * 100_000)).status == 400
