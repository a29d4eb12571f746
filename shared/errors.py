"""Every error a function or the runtime may raise, and what each one means.

PortalError
├── InvalidRequest
│   ├── UnsupportedField
│   ├── NoCapableModel
│   └── ContextLengthExceeded
├── Unauthenticated
├── Forbidden
├── NotFound
│   └── UnknownModel
├── WrongMethod
├── Conflict
├── TooLarge
├── HeadersTooLarge
├── WrongMediaType
├── SlowRequest
├── RateLimited
├── BackendError
│   ├── BackendRefused
│   ├── BackendUnreachable
│   ├── BackendTimeout
│   │   └── BackendBusy
│   ├── BackendBroken
│   ├── BackendPaused
│   └── NoBackend
├── StateUnavailable
├── ShuttingDown
├── ConfigurationError
└── AlreadyRunning

No HTTP in here: `runtime/hosts/errors.py` maps each class to a status and a body, in one table.
"""

from typing import ClassVar


class PortalError(Exception):
    """Something that the caller should be told, in words meant for them."""

    code: ClassVar[str] = "internal_error"
    """Stable name for programs; the message is for people."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class InvalidRequest(PortalError):
    """The request is malformed; the message names what was found and what would be right."""

    code = "invalid_request"


class UnsupportedField(InvalidRequest):
    """A field is valid in this API, yet the chosen backend cannot honour it."""

    code = "unsupported_field"


class NoCapableModel(InvalidRequest):
    """The request needs something, such as vision, that no model here can do."""

    code = "no_capable_model"


class ContextLengthExceeded(InvalidRequest):
    """The prompt cannot fit the model's context window."""

    code = "context_length_exceeded"


class Unauthenticated(PortalError):
    """A key is required, and none or an unknown one was sent."""

    code = "invalid_api_key"


class Forbidden(PortalError):
    """The caller is known, or needs not be, but may not do this from there."""

    code = "forbidden"


class NotFound(PortalError):
    """Nothing lies under that name."""

    code = "not_found"


class UnknownModel(NotFound):
    """No model, workspace or backend goes by that name."""

    code = "model_not_found"


class WrongMethod(PortalError):
    """The path exists, under other methods."""

    code = "method_not_allowed"

    def __init__(self, message: str, *, allowed: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.allowed = allowed


class Conflict(PortalError):
    """The state of things does not allow it now."""

    code = "conflict"


class TooLarge(PortalError):
    """The body is over the limit of this route."""

    code = "request_too_large"


class HeadersTooLarge(PortalError):
    """The request's headers are over the limit."""

    code = "headers_too_large"


class WrongMediaType(PortalError):
    """The body comes in a type or an encoding that this route does not take."""

    code = "unsupported_media_type"


class SlowRequest(PortalError):
    """The client did not finish sending its request in time."""

    code = "request_timeout"


class RateLimited(PortalError):
    """Too much at once, or a quota is used up; `retry_after` is in seconds."""

    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BackendError(PortalError):
    """A backend failed; `backend` names it."""

    code = "backend_error"

    def __init__(self, message: str, *, backend: str = "", param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.backend = backend


class BackendRefused(BackendError):
    """The backend itself answered with a refusal: `status` is its own, the message its words."""

    code = "backend_refused"

    def __init__(
        self,
        message: str,
        *,
        backend: str = "",
        status: int,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, backend=backend)
        self.status = status
        self.retry_after = retry_after


class BackendUnreachable(BackendError):
    """No connection could be made; nothing was sent."""

    code = "backend_unreachable"


class BackendTimeout(BackendError):
    """The backend took longer than a limit: to the first byte, between bytes, or in total."""

    code = "backend_timeout"


class BackendBusy(BackendTimeout):
    """No connection to it became free in time, since Portal itself uses all; nothing was sent."""

    code = "backend_busy"


class BackendBroken(BackendError):
    """The backend's answer was cut, malformed or empty."""

    code = "backend_broken"


class BackendPaused(BackendError):
    """The model failed too often, or asked for a pause: nothing is sent for `retry_after` s."""

    code = "backend_paused"

    def __init__(self, message: str, *, backend: str = "", retry_after: float) -> None:
        super().__init__(message, backend=backend)
        self.retry_after = retry_after


class NoBackend(BackendError):
    """No live backend can answer this request."""

    code = "no_backend"


class StateUnavailable(PortalError):
    """What Portal remembers cannot be read or written now; nothing of this request was stored."""

    code = "state_unavailable"


class ShuttingDown(PortalError):
    """Portal is stopping; the request was not, or not wholly, answered."""

    code = "shutting_down"


class ConfigurationError(PortalError):
    """A setting, a function or the installation is wrong; Portal does not start."""

    code = "configuration_error"


class AlreadyRunning(PortalError):
    """Another Portal holds this state directory; `pid` names it when known."""

    code = "already_running"

    def __init__(self, message: str, *, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid
