"""What the embedded model's server refuses, as Portal's own errors. Pure.

That server is Portal's child: nobody else knows it, so its errors are told in Portal's words and
shape. Those of a backend that is somebody's own are relayed as they are.
"""

import msgspec

from portal.runtime.backends.failures import message_in
from portal.shared.errors import (
    BackendRefused,
    ContextLengthExceeded,
    InvalidRequest,
    PortalError,
    UnsupportedField,
)

NAME = "embedded"


class _Told(msgspec.Struct):
    type: str = ""
    n_prompt_tokens: int = 0
    n_ctx: int = 0


class _Body(msgspec.Struct):
    error: _Told


def error_of(status: int, body: bytes) -> PortalError:
    """Make the error of an answer that is not a success.

    What speaks of the request is the client's to put right; all else is the backend's failure.
    """
    words = message_in(body) or "it gives no reason"
    try:
        told = msgspec.json.decode(body, type=_Body).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        told = _Told()
    match told.type:
        case "exceed_context_size_error" if told.n_prompt_tokens and told.n_ctx:
            return ContextLengthExceeded(
                f"The prompt has {told.n_prompt_tokens} tokens; the embedded model takes in "
                f"{told.n_ctx} (embedded.context_window).",
                param="messages",
            )
        case "exceed_context_size_error":
            return ContextLengthExceeded(words, param="messages")
        case "not_supported_error":
            return UnsupportedField(f"The embedded model cannot do this: {words}")
    if status in (400, 413, 422):
        return InvalidRequest(words)
    message = f"The embedded model answered {status}: {words}"
    return BackendRefused(message, backend=NAME, status=status)
