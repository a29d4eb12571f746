"""Every error a function or the runtime may raise, and what each one means.

PortalError
├── InvalidRequest
│   ├── UnsupportedField
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
│   ├── BackendBroken
│   └── NoBackend
├── ShuttingDown
├── DeadlineExceeded
├── ConfigurationError
└── AlreadyRunning

No HTTP in here: `runtime/hosts/errors.py` maps each class to a status and a body, in one table.
"""


class PortalError(Exception):
    """Something that the caller should be told, in words meant for them."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class InvalidRequest(PortalError):
    """The request is malformed; the message names what was found and what would be right."""


class UnsupportedField(InvalidRequest):
    """A field is valid in this API, yet the chosen backend cannot honour it."""


class ContextLengthExceeded(InvalidRequest):
    """The prompt cannot fit the model's context window."""


class Unauthenticated(PortalError):
    """A key is required, and none or an unknown one was sent."""


class Forbidden(PortalError):
    """The caller is known, or needs not be, but may not do this from there."""


class NotFound(PortalError):
    """Nothing lies under that name."""


class UnknownModel(NotFound):
    """No model, workspace or backend goes by that name."""


class WrongMethod(PortalError):
    """The path exists, under other methods."""

    def __init__(self, message: str, *, allowed: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.allowed = allowed


class Conflict(PortalError):
    """The state of things does not allow it now."""


class TooLarge(PortalError):
    """The body is over the limit of this route."""


class HeadersTooLarge(PortalError):
    """The request's headers are over the limit."""


class WrongMediaType(PortalError):
    """A browser sent a body in a type that this route does not take."""


class SlowRequest(PortalError):
    """The client did not finish sending its request in time."""


class RateLimited(PortalError):
    """Too much at once, or a quota is used up; `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BackendError(PortalError):
    """A backend failed; `backend` names it."""

    def __init__(self, message: str, *, backend: str = "", param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.backend = backend


class BackendRefused(BackendError):
    """The backend itself answered with a refusal: `status` is its own, the message its words."""

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


class BackendTimeout(BackendError):
    """The backend took longer than a limit: to the first byte, between bytes, or in total."""


class BackendBroken(BackendError):
    """The backend's answer was cut, malformed or empty."""


class NoBackend(BackendError):
    """No live backend can answer this request."""


class ShuttingDown(PortalError):
    """Portal is stopping; the request was not, or not wholly, answered."""


class DeadlineExceeded(PortalError):
    """The request's own deadline passed."""


class ConfigurationError(PortalError):
    """A setting, a function or the installation is wrong; Portal does not start."""


class AlreadyRunning(PortalError):
    """Another Portal holds this state directory; `pid` names it when known."""

    def __init__(self, message: str, *, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid
