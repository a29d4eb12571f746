"""Whom to ask next: the candidates of one question, as those before them fail. Pure.

Bounds how often a question is tried: a backend that cannot be reached is not tried with its other
models, nor one that failed with several; and nobody waits in a second line.
"""

from collections.abc import Callable, Iterator, Sequence

from portal.runtime.admission.passage import is_failure
from portal.shared.decisions import Candidate
from portal.shared.errors import (
    BackendError,
    BackendPaused,
    BackendRefused,
    BackendUnreachable,
    PortalError,
    RateLimited,
)

MOST_OF_BACKEND = 3
"""Models of one backend that may fail before its others are passed over."""
MOST_TOLD = 4
"""Earlier failures that an error tells of."""
NOT_RETRIED = frozenset({400, 409, 413, 422})
"""Refusals that speak of the request itself: another model would refuse it as well."""


class Chain:
    """Gives the candidates in their order, without those that are of no use any more.

    `has_place`: whether one could begin at once.
    """

    def __init__(
        self, candidates: Sequence[Candidate], has_place: Callable[[Candidate], bool]
    ) -> None:
        self._left = list(candidates)
        self._has_place = has_place
        self._failed: dict[str, int] = {}
        self._errors: list[tuple[Candidate, PortalError]] = []
        self._hurried = False

    def __iter__(self) -> Iterator[Candidate]:
        while self._left:
            candidate = self._left.pop(0)
            if not self._hurried or self._has_place(candidate):
                yield candidate

    @property
    def failures(self) -> list[str]:
        """What went wrong so far, a sentence each."""
        return [f"{candidate.name}: {error.message}" for candidate, error in self._errors]

    def is_last_backend(self, candidate: Candidate) -> bool:
        """Tell whether nobody elsewhere could take over."""
        return all(other.backend == candidate.backend for other in self._left)

    def failed(self, candidate: Candidate, error: PortalError) -> None:
        """Take note of a failure. Raises it where another model would fail in the same way."""
        if isinstance(error, BackendRefused) and error.status in NOT_RETRIED:
            raise error
        self._errors.append((candidate, error))
        if isinstance(error, RateLimited):
            self._hurried = True
        backend = candidate.backend
        self._failed[backend] = self._failed.get(backend, 0) + _is_failure(error)
        if self._failed[backend] >= MOST_OF_BACKEND or _is_of_backend(error):
            self._left = [each for each in self._left if each.backend != backend]

    def error(self) -> PortalError:
        """Make the error of all: the last that was a backend's failure, else the last.

        Where all of them are only paused, that of the first to come back.
        """
        errors = [error for _, error in self._errors]
        paused = [error for error in errors if isinstance(error, BackendPaused)]
        telling = [error for error in errors if _is_failure(error)]
        chosen = (telling or errors)[-1]
        if len(paused) == len(errors):
            chosen = min(paused, key=lambda error: error.retry_after)
        others = [f"{c.name}: {e.message}" for c, e in self._errors if e is not chosen]
        if others:
            more = f"; and {len(others) - MOST_TOLD} more" if len(others) > MOST_TOLD else ""
            chosen.message += " Beside it failed " + "; ".join(others[:MOST_TOLD]) + more
        return chosen


def _is_of_backend(error: PortalError) -> bool:
    """Tell whether its backend would fail with any model: nobody is there, or the key is wrong."""
    if isinstance(error, BackendRefused):
        return error.status in (401, 403)
    return isinstance(error, BackendUnreachable)


def _is_failure(error: PortalError) -> bool:
    return isinstance(error, BackendError) and is_failure(error)
