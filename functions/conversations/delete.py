"""DELETE /portal/conversations/{id}: delete a conversation with all its messages."""

from typing import Protocol

import msgspec

from portal.shared.contract import Path, Route, Scope
from portal.shared.ports import HasCall
from portal.shared.state_ports import HasConversations

ROUTE = Route("DELETE", "/portal/conversations/{id}", Scope.CHAT)


class Request(msgspec.Struct, frozen=True):
    """Which."""

    id: Path[str]


class Deleted(msgspec.Struct, frozen=True):
    """It is gone."""

    id: str
    deleted: bool = True


class Needs(HasCall, HasConversations, Protocol):
    """Whose, and the conversations."""


async def handle(request: Request, context: Needs) -> Deleted:
    await context.conversations.delete(context.call.caller.user, request.id)
    return Deleted(request.id)
