"""POST /portal/conversations/import: take over conversations of Portal, ChatGPT or Open WebUI."""

import asyncio
from typing import Protocol

from portal.shared.contract import MIB, RawRequest, Route, Scope
from portal.shared.conversation_files import ExportFile
from portal.shared.conversation_imports import read_export
from portal.shared.conversations import Conversation, Imported
from portal.shared.ports import HasCall
from portal.shared.state_ports import HasConversations

ROUTE = Route("POST", "/portal/conversations/import", Scope.CHAT, max_body=32 * MIB)
ACCEPTS = ExportFile
ANSWERS = Imported

AT_ONCE = 50
"""Conversations stored together, so that what others store need not wait for a whole file."""


class Needs(HasCall, HasConversations, Protocol):
    """Whose, and the conversations."""


async def handle(request: RawRequest, context: Needs) -> Imported:
    # A large file takes its time, in which others want their answers.
    transcripts = await asyncio.to_thread(read_export, request.body)
    user, skipped = context.call.caller.user, 0
    made: list[Conversation] = []
    for start in range(0, len(transcripts), AT_ONCE):
        part = transcripts[start : start + AT_ONCE]
        done = await context.conversations.bring_in(user, part)
        made += done.conversations
        skipped += done.skipped
    return Imported(tuple(made), skipped)
