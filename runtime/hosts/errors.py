"""The one table from errors to HTTP: status and type; and the body, in the shape of each API."""

import math
from collections.abc import Callable

import msgspec

from portal.shared import errors

DROP = "portal.drop"
"""Where the scope holds what ends the connection within an answer; a foreign server has it not."""

LONGEST_RETRY = 86400
"""Seconds: a backend that names a longer time, or none that can be read, is asked in a day."""


class AnswerBroken(Exception):
    """An answer broke off where nothing more can be said: the connection has to end."""


class Answer(msgspec.Struct, frozen=True):
    """How an error class looks to an HTTP client."""

    status: int
    type: str


TABLE: dict[type[errors.PortalError], Answer] = {
    errors.InvalidRequest: Answer(400, "invalid_request_error"),
    errors.Unauthenticated: Answer(401, "authentication_error"),
    errors.Forbidden: Answer(403, "permission_error"),
    errors.NotFound: Answer(404, "invalid_request_error"),
    errors.WrongMethod: Answer(405, "invalid_request_error"),
    errors.SlowRequest: Answer(408, "invalid_request_error"),
    errors.Conflict: Answer(409, "invalid_request_error"),
    errors.TooLarge: Answer(413, "invalid_request_error"),
    errors.WrongMediaType: Answer(415, "invalid_request_error"),
    errors.RateLimited: Answer(429, "rate_limit_error"),
    errors.HeadersTooLarge: Answer(431, "invalid_request_error"),
    errors.BackendError: Answer(502, "backend_error"),
    errors.BackendUnreachable: Answer(503, "backend_error"),
    errors.BackendPaused: Answer(503, "backend_error"),
    errors.NoBackend: Answer(503, "backend_error"),
    errors.StateUnavailable: Answer(503, "server_error"),
    errors.ShuttingDown: Answer(503, "server_error"),
    errors.BackendBusy: Answer(503, "backend_error"),
    errors.BackendTimeout: Answer(504, "backend_error"),
    errors.PortalError: Answer(500, "server_error"),
}
"""A class that is not listed answers as its nearest parent does."""


def answer_for(error: Exception) -> Answer:
    """Find the answer of the error's nearest listed class; unforeseen ones are a plain 500."""
    for parent in type(error).__mro__:
        found = TABLE.get(parent)
        if found is not None:
            if isinstance(error, errors.BackendRefused):
                return _refused(error, found)
            return found
    return TABLE[errors.PortalError]


def openai_error(error: Exception) -> bytes:
    """Encode OpenAI's error object; an unforeseen error's own words are never shown."""
    answer = answer_for(error)
    param, code = None, errors.PortalError.code
    if isinstance(error, errors.PortalError):
        param, code = error.param, error.code
    return msgspec.json.encode(
        {
            "error": {
                "message": _words(error),
                "type": answer.type,
                "param": param,
                "code": code,
            }
        }
    )


def ollama_error(error: Exception) -> bytes:
    """Encode Ollama's error object, which is the sentence alone."""
    return msgspec.json.encode({"error": _words(error)})


SHAPES: tuple[tuple[str, Callable[[Exception], bytes]], ...] = (
    ("/api/dry-run", openai_error),  # Portal's own, although it lies beside those of Ollama
    ("/api/", ollama_error),
)
"""Whose shape errors have, by how the path begins; the first that fits. Else it is OpenAI's."""


def error_body(error: Exception, path: str) -> bytes:
    """Encode an error in the shape of the API that the path belongs to."""
    for start, encode in SHAPES:
        if path.startswith(start):
            return encode(error)
    return openai_error(error)


def _words(error: Exception) -> str:
    if isinstance(error, errors.PortalError):
        return error.message
    return "Portal failed on this request; the log has the details."


def sse_error(error: Exception) -> bytes:
    """End an SSE stream with an error event; the leading line ends close an event cut in half."""
    return b"\n\ndata: " + openai_error(error) + b"\n\n"


def error_headers(error: Exception) -> list[tuple[bytes, bytes]]:
    """Headers that an error brings along: Retry-After, Allow, WWW-Authenticate, Accept-Encoding."""
    match error:
        case errors.RateLimited(retry_after=seconds) | errors.BackendPaused(retry_after=seconds):
            return [(b"retry-after", _whole_seconds(seconds))]
        case errors.BackendRefused(retry_after=seconds) if seconds is not None:
            return [(b"retry-after", _whole_seconds(seconds))]
        case errors.WrongMethod(allowed=allowed):
            return [(b"allow", ", ".join(allowed).encode())]
        case errors.Unauthenticated():
            return [(b"www-authenticate", b"Bearer")]
        case errors.WrongMediaType(param="content-encoding"):
            return [(b"accept-encoding", b"identity")]
    return []


def _whole_seconds(seconds: float) -> bytes:
    # The comparison is false for NaN too.
    return b"%d" % (math.ceil(max(1, seconds)) if seconds < LONGEST_RETRY else LONGEST_RETRY)


def _refused(error: errors.BackendRefused, fallback: Answer) -> Answer:
    """A backend's own 4xx keeps its status, since it speaks to the client's request."""
    match error.status:
        case 400 | 404 | 413 | 422:
            return Answer(error.status, "invalid_request_error")
        case 429:
            return TABLE[errors.RateLimited]
    return fallback
