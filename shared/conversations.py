"""Conversations as they are kept: what a store takes and gives, and the pure rules about them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from portal.shared.messages import Message

Speaker = Literal["system", "user", "assistant"]

TITLE_LENGTH = 200
"""Characters of the longest title."""
MADE_TITLE_LENGTH = 60
"""Characters of the longest title that is made from a message."""
PREVIEW_LENGTH = 200
"""Characters of the last message that a list shows."""


class NewMessage(msgspec.Struct, frozen=True):
    """A message to be stored."""

    role: Speaker
    content: str
    id: str | None = None
    """A UUID of the client's choice: the same one is stored once, however often it is sent."""
    created_at: datetime | None = None
    """With a time zone; unset: now."""
    model: str = ""
    """`<backend>/<model>` that wrote it."""
    incomplete: bool = False
    """The answer broke off: its client left, or its model did."""


class StoredMessage(msgspec.Struct, frozen=True):
    """A message as it is kept."""

    id: str
    role: Speaker
    content: str
    created_at: datetime
    model: str = ""
    incomplete: bool = False


class LastMessage(msgspec.Struct, frozen=True):
    """The end of a conversation, as lists show it."""

    id: str
    role: Speaker
    preview: str
    created_at: datetime


class Conversation(msgspec.Struct, frozen=True):
    """A conversation without its messages; it belongs to one user."""

    id: str
    title: str
    created_at: datetime
    updated_at: datetime
    """When its last message came."""
    message_count: int
    last_message: LastMessage | None = None
    branch_of: str | None = None
    """The conversation that it continues otherwise."""
    branch_message: str | None = None
    """The last message that the two share, by its id in the other one."""
    excerpt: str = ""
    """Where a search found its words; empty without one."""


class ConversationPage(msgspec.Struct, frozen=True):
    """Some conversations, and where the next ones begin."""

    data: tuple[Conversation, ...]
    next_cursor: str | None = None


class MessagePage(msgspec.Struct, frozen=True):
    """Some messages, and where the next ones begin."""

    data: tuple[StoredMessage, ...]
    next_cursor: str | None = None


class Transcript(msgspec.Struct, frozen=True):
    """A whole conversation from elsewhere."""

    messages: tuple[NewMessage, ...]
    title: str = ""
    created_at: datetime | None = None
    origin: str = ""
    """Names it where it comes from, so that it is imported once; empty: always anew."""


class Imported(msgspec.Struct, frozen=True):
    """What an import did."""

    conversations: tuple[Conversation, ...]
    skipped: int = 0
    """Conversations that were imported before."""


def now() -> datetime:
    """Give the time, in UTC."""
    return datetime.now(UTC)


def make_title(text: str) -> str:
    """Make a title from a message: its beginning on one line, cut at a word."""
    line = one_line(text[: 8 * MADE_TITLE_LENGTH])
    if len(line) <= MADE_TITLE_LENGTH:
        return line
    head = line[: MADE_TITLE_LENGTH - 1]
    # A text without spaces, as some scripts write, is cut where it has to be.
    if not line[MADE_TITLE_LENGTH - 1].isspace() and " " in head[MADE_TITLE_LENGTH // 2 :]:
        head = head.rpartition(" ")[0]
    return head.rstrip(" ,;:.-") + "…"


def one_line(text: str) -> str:
    """Put a text on one line: white space as single spaces, control characters gone."""
    line = " ".join(text.split())
    if line.isprintable():  # nearly always, and told in a fraction of the time
        return line
    return " ".join("".join(c if c.isprintable() else " " for c in line).split())


def preview_of(text: str) -> str:
    """Give the beginning of a message on one line, for a list."""
    return one_line(text[: 4 * PREVIEW_LENGTH])[:PREVIEW_LENGTH]


def to_history(messages: Sequence[StoredMessage]) -> tuple[Message, ...]:
    """Make stored messages the history that a model reads.

    What one side said in several messages becomes one: after an answer that was never stored two
    questions follow each other, which many chat templates refuse. Empty messages are left out.
    """
    history: list[Message] = []
    for message in messages:
        if not message.content.strip():
            continue
        if history and history[-1].role == message.role != "system":
            joined = f"{history[-1].text}\n\n{message.content}"
            history[-1] = Message(message.role, joined)
        else:
            history.append(Message(message.role, message.content))
    return tuple(history)
