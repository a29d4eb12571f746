"""Conversations as files: Portal's own JSON, and Markdown for people. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from portal.shared.conversations import (
    Conversation,
    NewMessage,
    Speaker,
    StoredMessage,
    Transcript,
    one_line,
)

FORMAT: Literal["portal-conversations-1"] = "portal-conversations-1"
SPEAKERS = {"system": "System", "user": "You", "assistant": "Assistant"}


class ExportedMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message in a file."""

    role: Speaker
    content: str
    created_at: datetime | None = None
    model: str = ""
    incomplete: bool = False


class ExportedConversation(msgspec.Struct, frozen=True, omit_defaults=True):
    """A conversation in a file."""

    messages: tuple[ExportedMessage, ...]
    id: str = ""
    title: str = ""
    created_at: datetime | None = None
    origin: str = ""
    """Where it came from before; imported once, whichever way it comes."""


class ExportFile(msgspec.Struct, frozen=True):
    """Portal's own file of conversations."""

    format: Literal["portal-conversations-1"]
    conversations: tuple[ExportedConversation, ...]


def to_json(
    conversations: Iterable[tuple[Conversation, Sequence[StoredMessage]]],
) -> bytes:
    """Write conversations so that an import loses nothing."""
    exported = tuple(
        ExportedConversation(
            tuple(
                ExportedMessage(m.role, m.content, m.created_at, m.model, m.incomplete)
                for m in messages
            ),
            conversation.id,
            conversation.title,
            conversation.created_at,
        )
        for conversation, messages in conversations
    )
    encoded = msgspec.json.encode(ExportFile(FORMAT, exported))
    return msgspec.json.format(encoded, indent=2) + b"\n"


def to_transcript(conversation: ExportedConversation) -> Transcript:
    """Read a conversation of such a file; its id says where it comes from."""
    return Transcript(
        tuple(
            NewMessage(m.role, m.content, None, m.created_at, m.model, m.incomplete)
            for m in conversation.messages
        ),
        conversation.title,
        conversation.created_at,
        conversation.origin or (f"portal:{conversation.id}" if conversation.id else ""),
    )


def to_markdown(conversation: Conversation, messages: Sequence[StoredMessage]) -> str:
    """Write a conversation for people; what was said keeps its own Markdown."""
    lines = [f"# {one_line(conversation.title) or 'Conversation'}", ""]
    lines += [f"Begun {conversation.created_at:%Y-%m-%d %H:%M} UTC.", ""]
    for message in messages:
        by = f" ({message.model})" if message.model else ""
        lines += [f"## {SPEAKERS[message.role]}{by}, {message.created_at:%Y-%m-%d %H:%M} UTC", ""]
        lines += [message.content.strip(), ""]
        if message.incomplete:
            lines += ["*This answer broke off.*", ""]
    return "\n".join(lines)
