"""GET /portal/conversations: list the caller's conversations, newest first, or search them."""

from typing import Annotated, Protocol

import msgspec

from portal.shared.contract import Query, Route, Scope
from portal.shared.conversations import ConversationPage
from portal.shared.ports import HasCall
from portal.shared.state_ports import HasConversations

ROUTE = Route("GET", "/portal/conversations", Scope.CHAT)


class Request(msgspec.Struct, frozen=True):
    """Which, and how many."""

    search: Query[str | None] = None
    """Any text: its words have to be in the title, or in one message."""
    limit: Query[Annotated[int, msgspec.Meta(ge=1, le=200)]] = 50
    cursor: Query[str | None] = None
    """`next_cursor` of the page before."""


class Needs(HasCall, HasConversations, Protocol):
    """Whose, and the conversations."""


async def handle(request: Request, context: Needs) -> ConversationPage:
    user, kept = context.call.caller.user, context.conversations
    if request.search and request.search.strip():
        return await kept.search(user, request.search, limit=request.limit, cursor=request.cursor)
    return await kept.list(user, limit=request.limit, cursor=request.cursor)
