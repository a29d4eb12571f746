"""POST /portal/conversations/{id}/branch: begin another conversation with all up to a message."""

from typing import Annotated, Protocol

import msgspec

from portal.shared.contract import Path, Route, Scope
from portal.shared.conversations import TITLE_LENGTH, Conversation
from portal.shared.ports import HasCall
from portal.shared.state_ports import HasConversations

ROUTE = Route("POST", "/portal/conversations/{id}/branch", Scope.CHAT)


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where it branches off."""

    id: Path[str]
    message_id: str
    """The last message that the two share."""
    title: Annotated[str, msgspec.Meta(max_length=TITLE_LENGTH)] = ""
    """Unset: that of the other."""


class Needs(HasCall, HasConversations, Protocol):
    """Whose, and the conversations."""


async def handle(request: Request, context: Needs) -> Conversation:
    return await context.conversations.branch(
        context.call.caller.user, request.id, request.message_id, title=request.title
    )
