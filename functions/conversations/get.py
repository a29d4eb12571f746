"""GET /portal/conversations/{id}: tell about one conversation, without its messages."""

from typing import Protocol

import msgspec

from portal.shared.contract import Path, Route, Scope
from portal.shared.conversations import Conversation
from portal.shared.ports import HasCall
from portal.shared.state_ports import HasConversations

ROUTE = Route("GET", "/portal/conversations/{id}", Scope.CHAT)


class Request(msgspec.Struct, frozen=True):
    """Which."""

    id: Path[str]


class Needs(HasCall, HasConversations, Protocol):
    """Whose, and the conversations."""


async def handle(request: Request, context: Needs) -> Conversation:
    return await context.conversations.get(context.call.caller.user, request.id)
