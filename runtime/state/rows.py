"""Between structs and rows: times as text that sorts, cursors, and conversations as they are kept.

Rows never leave `runtime/state`.
"""

import base64
import sqlite3
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec

from portal.shared.conversations import Conversation, LastMessage, StoredMessage
from portal.shared.errors import InvalidRequest

T = TypeVar("T")
RowNumber = Annotated[int, msgspec.Meta(ge=-1, le=2**63 - 1)]
"""A number that SQLite takes: cursors come from outside."""

CONVERSATION = """
    c.seq, c.id, c.title, c.created_at, c.updated_at, c.message_count,
    c.last_id, c.last_role, c.last_preview, c.last_at, c.branch_of, c.branch_message
"""
MESSAGE = "m.seq, m.id, m.role, m.content, m.created_at, m.model, m.incomplete"


def to_text(at: datetime) -> str:
    """Write a time as UTC, always of the same length."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def to_time(text: str) -> datetime:
    """Read a time that `to_text` wrote."""
    return datetime.fromisoformat(text)


def to_conversation(row: tuple[Any, ...], excerpt: str = "") -> Conversation:
    """Make the struct of a row of the columns CONVERSATION."""
    _, id_, title, created, updated, count, last_id, role, preview, at, branch, message = row
    last = None if last_id is None else LastMessage(last_id, role, preview, to_time(at))
    return Conversation(
        id_, title, to_time(created), to_time(updated), count, last, branch, message, excerpt
    )


def to_message(row: tuple[Any, ...]) -> StoredMessage:
    """Make the struct of a row of the columns MESSAGE."""
    _, id_, role, content, created, model, incomplete = row
    return StoredMessage(id_, role, content, to_time(created), model, bool(incomplete))


def user_of(connection: sqlite3.Connection, name: str) -> int | None:
    """Find a user's number; None for one of whom nothing is kept."""
    row = connection.execute("SELECT seq FROM users WHERE name = ?", (name,)).fetchone()
    return None if row is None else int(row[0])


def write_cursor(*parts: int | str) -> str:
    """Write where a page ends, opaque to clients."""
    return base64.urlsafe_b64encode(msgspec.json.encode(parts)).decode().rstrip("=")


def read_cursor(cursor: str, shape: type[T]) -> T:
    """Read where a page begins. Raises InvalidRequest."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        return msgspec.json.decode(base64.urlsafe_b64decode(padded), type=shape)
    except (ValueError, msgspec.MsgspecError) as error:
        raise InvalidRequest(
            "`cursor` is none of this list: send `next_cursor` as the last page gave it.",
            param="cursor",
        ) from error
