"""GET /portal/conversations/{id}/messages: read a conversation, page by page."""

from typing import Annotated, Literal, Protocol

import msgspec

from portal.shared.contract import Path, Query, Route, Scope
from portal.shared.conversations import MessagePage
from portal.shared.ports import HasCall
from portal.shared.state_ports import HasConversations

ROUTE = Route("GET", "/portal/conversations/{id}/messages", Scope.CHAT)


class Request(msgspec.Struct, frozen=True):
    """Which, and how many."""

    id: Path[str]
    limit: Query[Annotated[int, msgspec.Meta(ge=1, le=1000)]] = 50
    cursor: Query[str | None] = None
    """`next_cursor` of the page before, asked for in the same order."""
    order: Query[Literal["oldest", "newest"]] = "oldest"
    """Which come first."""


class Needs(HasCall, HasConversations, Protocol):
    """Whose, and the conversations."""


async def handle(request: Request, context: Needs) -> MessagePage:
    return await context.conversations.messages(
        context.call.caller.user,
        request.id,
        limit=request.limit,
        cursor=request.cursor,
        newest_first=request.order == "newest",
    )
