"""POST /portal/session-links: make a one-time link that signs a browser in as the owner."""

from typing import Protocol

import msgspec

from portal.shared.contract import Route, Scope
from portal.shared.ports import HasSessions

ROUTE = Route("POST", "/portal/session-links", Scope.ADMIN)


class Request(msgspec.Struct, frozen=True):
    """Nothing to say."""


class Needs(HasSessions, Protocol):
    """The page sessions."""


class SessionLink(msgspec.Struct, frozen=True):
    """Where to go, once, within a day."""

    path: str


async def handle(request: Request, context: Needs) -> SessionLink:
    return SessionLink(f"/portal/session/{context.sessions.new_link()}")
