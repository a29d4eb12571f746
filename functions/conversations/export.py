"""GET /portal/conversations/{id}/export: hand out a whole conversation, as JSON or Markdown."""

from typing import Literal, Protocol

import msgspec

from portal.shared.contract import Path, Query, RawReply, Route, Scope
from portal.shared.conversation_files import ExportFile, to_json, to_markdown
from portal.shared.ports import HasCall
from portal.shared.state_ports import HasConversations

ROUTE = Route("GET", "/portal/conversations/{id}/export", Scope.CHAT)
ANSWERS = ExportFile

TYPES = {"json": b"application/json", "markdown": b"text/markdown; charset=utf-8"}
ENDINGS = {"json": "json", "markdown": "md"}


class Request(msgspec.Struct, frozen=True):
    """Which, and how."""

    id: Path[str]
    format: Query[Literal["json", "markdown"]] = "json"


class Needs(HasCall, HasConversations, Protocol):
    """Whose, and the conversations."""


async def handle(request: Request, context: Needs) -> RawReply:
    user, kept = context.call.caller.user, context.conversations
    conversation = await kept.get(user, request.id)
    messages = await kept.history(user, request.id)
    if request.format == "json":
        body = to_json([(conversation, messages)])
    else:
        body = to_markdown(conversation, messages).encode()
    name = f"conversation-{conversation.id}.{ENDINGS[request.format]}"
    headers = (
        (b"content-type", TYPES[request.format]),
        (b"content-disposition", f'attachment; filename="{name}"'.encode()),
    )
    return RawReply(200, headers, body)
