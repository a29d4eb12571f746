"""POST /portal/conversations: begin a conversation, with its first messages if there are any."""

from typing import Annotated, Protocol

import msgspec

from portal.shared.contract import Route, Scope
from portal.shared.conversations import TITLE_LENGTH, Conversation, NewMessage, Speaker
from portal.shared.ports import HasCall
from portal.shared.state_ports import HasConversations

ROUTE = Route("POST", "/portal/conversations", Scope.CHAT)


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message."""

    role: Speaker
    content: str


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How it begins."""

    title: Annotated[str, msgspec.Meta(max_length=TITLE_LENGTH)] = ""
    """Unset: made from the first message of a user."""
    messages: list[Said] = []


class Needs(HasCall, HasConversations, Protocol):
    """Whose, and the conversations."""


async def handle(request: Request, context: Needs) -> Conversation:
    messages = [NewMessage(said.role, said.content) for said in request.messages]
    return await context.conversations.create(
        context.call.caller.user, title=request.title, messages=messages
    )
