"""The way to a model: past its breaker and the limits on what is done at once.

What counts against a model, and what does not, is decided here and nowhere else.
"""

from portal.runtime.admission.breaker import CircuitBreaker
from portal.runtime.admission.breakers import Breakers
from portal.runtime.admission.load import Load, Ticket
from portal.runtime.admission.permit import Permit
from portal.runtime.backends.operations import too_long
from portal.shared.contract import Call
from portal.shared.errors import (
    BackendBroken,
    BackendBusy,
    BackendError,
    BackendPaused,
    BackendRefused,
    BackendTimeout,
    BackendUnreachable,
)


class Passage:
    """One request's leave to use one model, until `close`. The first verdict counts."""

    __slots__ = ("_breaker", "_permit", "_ticket")

    def __init__(self, breaker: CircuitBreaker, permit: Permit, ticket: Ticket) -> None:
        self._breaker = breaker
        self._permit = permit
        self._ticket = ticket

    def began(self) -> None:
        """Say that an answer has begun, which lets others try a model that is on trial, too."""
        self._permit.began()

    def succeeded(self) -> None:
        """Say that the model answered."""
        self._permit.succeeded()

    def failed(self, error: BackendError) -> None:
        """Say what went wrong; whether it counts against the model depends on what it was."""
        if is_failure(error):
            self._permit.failed(error.message)
        elif isinstance(error, BackendRefused):
            if error.status == 429:
                self._breaker.pause(error.retry_after or 0.0, error.message)
                self._permit.release()
            else:
                # A refusal of one request says that the server is well.
                self._permit.succeeded()

    def close(self) -> None:
        """Give everything back.

        Without a verdict (the client left) nothing is held for or against the model.
        """
        self._permit.release()
        self._ticket.leave()


class Passages:
    """Lets requests through to (backend, model)."""

    def __init__(self, breakers: Breakers, load: Load) -> None:
        self.breakers = breakers
        self.load = load

    async def enter(
        self, call: Call, backend: str, model: str, *, background: bool = False
    ) -> Passage:
        """Wait for one's turn. Raises BackendPaused, and RateLimited when too much waits."""
        breaker = self.breakers.of(backend, model)
        if breaker.retry_after > 0:
            raise self._paused(backend, model)
        ticket = None if background else self.load.try_enter(call.caller.key, backend, model)
        if ticket is None:
            call.begin_wait()
            try:
                ticket = await self.load.enter(
                    call.caller.key, backend, model, background=background
                )
            finally:
                call.end_wait()
        permit = breaker.acquire()
        if permit is None:
            # It opened while this request stood in line.
            ticket.pass_on()
            raise self._paused(backend, model)
        return Passage(breaker, permit, ticket)

    def _paused(self, backend: str, model: str) -> BackendPaused:
        breaker = self.breakers.of(backend, model)
        status = breaker.status(model)
        seconds = max(breaker.retry_after, 1.0)
        return BackendPaused(
            f"{backend}/{model} is left alone for {seconds:.0f} s more. "
            + (f"Its last failure: {status.error}" if status.error else ""),
            backend=backend,
            retry_after=seconds,
        )


def is_failure(error: BackendError) -> bool:
    """Tell what counts against a model: it did not answer, broke off, or failed by itself.

    A refusal of one request (any other 4xx) never does; 429 asks for a pause, and gets it. Nor
    does it when Portal's own connections to its backend were all in use.
    """
    match error:
        case BackendBusy():
            return False
        case BackendUnreachable() | BackendTimeout() | BackendBroken():
            return True
        case BackendRefused(status=status):
            # Some servers answer 500 to a prompt that is too long for them.
            return (status >= 500 or status == 408) and too_long(error) is error
    return False
