"""Where commands find conversations: at the Portal that runs, else in the database itself."""

import urllib.parse
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from portal.runtime.cli.running import RunningServer, find_running
from portal.shared.conversation_files import (
    FORMAT,
    ExportedConversation,
    ExportedMessage,
    ExportFile,
)
from portal.shared.conversations import (
    Conversation,
    ConversationPage,
    Imported,
    MessagePage,
    StoredMessage,
    Transcript,
)
from portal.shared.errors import StateUnavailable

if TYPE_CHECKING:
    from portal.runtime.ops.schema import Settings

MOST_MESSAGES = 1000
"""Messages asked for at once."""


class ConversationDoor(Protocol):
    """What a command may do with the owner's conversations: part of the Conversations port."""

    async def get(self, user: str, conversation_id: str) -> Conversation: ...

    async def list(
        self, user: str, *, limit: int = 50, cursor: str | None = None
    ) -> ConversationPage: ...

    async def search(
        self, user: str, text: str, *, limit: int = 50, cursor: str | None = None
    ) -> ConversationPage: ...

    async def rename(self, user: str, conversation_id: str, title: str) -> Conversation: ...

    async def delete(self, user: str, conversation_id: str) -> None: ...

    async def history(self, user: str, conversation_id: str) -> Sequence[StoredMessage]: ...

    async def bring_in(self, user: str, transcripts: Sequence[Transcript]) -> Imported: ...


class RunningConversations:
    """The same, asked of a running Portal as its owner, whose `user` it is then."""

    def __init__(self, running: RunningServer) -> None:
        self._running = running

    async def get(self, user: str, conversation_id: str) -> Conversation:
        return self._running.call("GET", _path(conversation_id), Conversation)

    async def list(
        self, user: str, *, limit: int = 50, cursor: str | None = None
    ) -> ConversationPage:
        return self._page(limit=limit, cursor=cursor)

    async def search(
        self, user: str, text: str, *, limit: int = 50, cursor: str | None = None
    ) -> ConversationPage:
        return self._page(search=text, limit=limit, cursor=cursor)

    async def rename(self, user: str, conversation_id: str, title: str) -> Conversation:
        return self._running.call("PATCH", _path(conversation_id), Conversation, {"title": title})

    async def delete(self, user: str, conversation_id: str) -> None:
        self._running.call("DELETE", _path(conversation_id), dict[str, Any])

    async def history(self, user: str, conversation_id: str) -> Sequence[StoredMessage]:
        messages: list[StoredMessage] = []
        cursor: str | None = ""
        while cursor is not None:
            query = _query(limit=MOST_MESSAGES, cursor=cursor or None)
            path = f"{_path(conversation_id)}/messages{query}"
            page = self._running.call("GET", path, MessagePage)
            messages += page.data
            cursor = page.next_cursor
        return messages

    async def bring_in(self, user: str, transcripts: Sequence[Transcript]) -> Imported:
        body = ExportFile(FORMAT, tuple(_exported(each) for each in transcripts))
        return self._running.call("POST", "/portal/conversations/import", Imported, body)

    def _page(self, **query: str | int | None) -> ConversationPage:
        path = f"/portal/conversations{_query(**query)}"
        return self._running.call("GET", path, ConversationPage)


@asynccontextmanager
async def open_conversations(settings: "Settings") -> AsyncIterator[ConversationDoor]:
    """Open the conversations of the running Portal, or else the database, under its lock.

    Raises AlreadyRunning while another command holds the lock, and StateUnavailable.
    """
    running = find_running(settings.state_dir)
    if running is not None:
        yield RunningConversations(running)
        return

    from portal.runtime.ops.instance import acquire
    from portal.runtime.state.conversations import ConversationStore
    from portal.runtime.state.database import Database

    lock = acquire(settings.state_dir)
    database = Database(settings.state_dir, settings.state)
    try:
        await database.start()
        if database.problem:
            raise StateUnavailable(database.problem)
        yield ConversationStore(database, search_matches=settings.state.search_matches)
    finally:
        await database.close()
        lock.release()


def _path(conversation_id: str) -> str:
    return f"/portal/conversations/{urllib.parse.quote(conversation_id, safe='')}"


def _query(**given: str | int | None) -> str:
    pairs = {name: str(value) for name, value in given.items() if value is not None}
    return f"?{urllib.parse.urlencode(pairs)}" if pairs else ""


def _exported(transcript: Transcript) -> ExportedConversation:
    return ExportedConversation(
        tuple(
            msgspec.convert(each, ExportedMessage, from_attributes=True)
            for each in transcript.messages
        ),
        "",
        transcript.title,
        transcript.created_at,
        transcript.origin,
    )
