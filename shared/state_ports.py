"""The ports to what Portal remembers: they take and give structs, never rows."""

from collections.abc import Sequence
from typing import Protocol

from portal.shared.conversations import (
    Conversation,
    ConversationPage,
    Imported,
    MessagePage,
    NewMessage,
    StoredMessage,
    Transcript,
)


class Conversations(Protocol):
    """What was said, kept: each conversation belongs to one user, and no other ever sees it.

    A method that changes something returns when that survives a loss of power. Every one raises
    NotFound for a conversation that this user has not, and StateUnavailable. Cursors hold while
    others write; a foreign one raises InvalidRequest.
    """

    async def create(
        self, user: str, *, title: str = "", messages: Sequence[NewMessage] = ()
    ) -> Conversation:
        """Begin a conversation. Without a title, its first message of a user makes one."""
        ...

    async def get(self, user: str, conversation_id: str) -> Conversation: ...

    async def list(
        self, user: str, *, limit: int = 50, cursor: str | None = None
    ) -> ConversationPage:
        """Give the conversations, that of the last message first."""
        ...

    async def search(
        self, user: str, text: str, *, limit: int = 50, cursor: str | None = None
    ) -> ConversationPage:
        """Find those that have all words of any text in the title, or in one message."""
        ...

    async def rename(self, user: str, conversation_id: str, title: str) -> Conversation: ...

    async def delete(self, user: str, conversation_id: str) -> None:
        """Delete it with all its messages; branches of it stay."""
        ...

    async def add(
        self, user: str, conversation_id: str, messages: Sequence[NewMessage]
    ) -> Sequence[StoredMessage]:
        """Add messages to its end, all or none.

        A message that was stored under the same id before is not stored again. Raises Conflict
        where that id belongs to another message.
        """
        ...

    def keep(self, user: str, conversation_id: str, message: NewMessage) -> None:
        """Add a message in the background, for a caller that cannot wait any more."""
        ...

    async def messages(
        self,
        user: str,
        conversation_id: str,
        *,
        limit: int = 50,
        cursor: str | None = None,
        newest_first: bool = False,
    ) -> MessagePage:
        """Give its messages, the oldest first unless told otherwise."""
        ...

    async def history(self, user: str, conversation_id: str) -> Sequence[StoredMessage]:
        """Give all its messages, the oldest first."""
        ...

    async def branch(
        self, user: str, conversation_id: str, message_id: str, *, title: str = ""
    ) -> Conversation:
        """Begin another conversation with all up to a message, that one included."""
        ...

    async def bring_in(self, user: str, transcripts: Sequence[Transcript]) -> Imported:
        """Import conversations, all or none, each origin once."""
        ...


class HasConversations(Protocol):
    @property
    def conversations(self) -> Conversations: ...
