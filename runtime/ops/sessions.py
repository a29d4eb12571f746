"""Page sessions: a one-time link, given to whoever sits at the terminal, becomes a cookie.

Lives in memory: a restart ends every session, and `portal status` gives a new link.
"""

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

from portal.shared.contract import Caller, Scope
from portal.shared.errors import Forbidden

LINK_SECONDS = 24 * 3600.0
SESSION_SECONDS = 30 * 24 * 3600.0
KEPT = 256
"""Links, and sessions, that are remembered at most; the oldest go first."""
OWNER = Caller(
    "local", "page session", frozenset({Scope.PUBLIC, Scope.CHAT, Scope.ADMIN, Scope.METRICS})
)


class PageSessions:
    """Implements the Sessions port. Only digests are kept, so memory holds no usable secret."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._links: OrderedDict[bytes, float] = OrderedDict()
        self._sessions: OrderedDict[bytes, float] = OrderedDict()

    def new_link(self) -> str:
        """Make the code of a link that opens one session, once, within a day."""
        return self._add(self._links, LINK_SECONDS)

    def open(self, link: str) -> str:
        expires = self._links.pop(_digest(link), 0.0)
        if expires <= self._clock():
            raise Forbidden(
                "This link was used already, or is too old. `portal status` prints a new one."
            )
        return self._add(self._sessions, SESSION_SECONDS)

    def caller(self, token: str) -> Caller | None:
        """Say whom a session's cookie stands for; None for an unknown or old one."""
        expires = self._sessions.get(_digest(token), 0.0)
        return OWNER if expires > self._clock() else None

    def _add(self, kept: "OrderedDict[bytes, float]", seconds: float) -> str:
        secret = secrets.token_urlsafe(32)
        kept[_digest(secret)] = self._clock() + seconds
        while len(kept) > KEPT:
            kept.popitem(last=False)
        return secret


def _digest(secret: str) -> bytes:
    """Look-ups go by digest, so that their timing tells nothing about the secret."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
