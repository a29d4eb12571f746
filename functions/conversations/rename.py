"""PATCH /portal/conversations/{id}: give a conversation another title."""

from typing import Annotated, Protocol

import msgspec

from portal.shared.contract import Path, Route, Scope
from portal.shared.conversations import TITLE_LENGTH, Conversation
from portal.shared.ports import HasCall
from portal.shared.state_ports import HasConversations

ROUTE = Route("PATCH", "/portal/conversations/{id}", Scope.CHAT)


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which, and its title."""

    id: Path[str]
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=TITLE_LENGTH)]


class Needs(HasCall, HasConversations, Protocol):
    """Whose, and the conversations."""


async def handle(request: Request, context: Needs) -> Conversation:
    user = context.call.caller.user
    return await context.conversations.rename(user, request.id, request.title)
