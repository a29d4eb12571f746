"""The writes of conversations, as works for the writer: each raises before it changes anything
that it could not finish, and is undone as a whole where it does not."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from portal.runtime.state.rows import (
    CONVERSATION,
    MESSAGE,
    to_conversation,
    to_message,
    to_text,
    user_of,
)
from portal.shared.conversations import (
    TITLE_LENGTH,
    Conversation,
    Imported,
    NewMessage,
    StoredMessage,
    Transcript,
    make_title,
    now,
    one_line,
    preview_of,
)
from portal.shared.errors import Conflict, InvalidRequest, NotFound
from portal.shared.ids import new_id

Row = tuple[Any, ...]


def find(connection: sqlite3.Connection, user: str, conversation_id: str) -> Row:
    """Find a user's conversation. Raises NotFound, whether it is another's or nobody's."""
    row = connection.execute(
        f"SELECT {CONVERSATION} FROM conversations c JOIN users u ON u.seq = c.user "
        "WHERE c.id = ? AND u.name = ?",
        (conversation_id, user),
    ).fetchone()
    if row is None:
        raise NotFound(f"There is no conversation {conversation_id[:80]!r}.", param="id")
    found: Row = row
    return found


def insert(connection: sqlite3.Connection, user: str, transcript: Transcript) -> Conversation:
    """Make a conversation with its first messages."""
    number = _ensure_user(connection, user)
    times = [message.created_at for message in transcript.messages if message.created_at]
    at = to_text(transcript.created_at or min(times, default=now()))
    cursor = connection.execute(
        "INSERT INTO conversations (id, user, title, created_at, updated_at, origin) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (new_id(), number, to_title(transcript.title), at, at, transcript.origin or None),
    )
    seq = cursor.lastrowid
    if transcript.messages:
        _append(connection, _by_seq(connection, seq), number, transcript.messages)
    return to_conversation(_by_seq(connection, seq))


def add(
    connection: sqlite3.Connection,
    user: str,
    conversation_id: str,
    messages: Sequence[NewMessage],
) -> list[StoredMessage]:
    """Add messages to the end; one whose id is there already is given as it is kept."""
    row = find(connection, user, conversation_id)
    number = user_of(connection, user)
    assert number is not None
    return _append(connection, row, number, messages)


def rename(
    connection: sqlite3.Connection,
    user: str,
    conversation_id: str,
    title: str,
) -> Conversation:
    """Give a conversation another title; its place in the list stays."""
    row = find(connection, user, conversation_id)
    told = to_title(title)
    if not told:
        raise InvalidRequest("`title` is empty; send a title that can be read.", param="title")
    connection.execute("UPDATE conversations SET title = ? WHERE seq = ?", (told, row[0]))
    return to_conversation(_by_seq(connection, row[0]))


def delete(connection: sqlite3.Connection, user: str, conversation_id: str) -> None:
    """Delete a conversation with its messages and their words in the index."""
    seq = find(connection, user, conversation_id)[0]
    connection.execute("DELETE FROM messages WHERE conversation = ?", (seq,))
    connection.execute("DELETE FROM conversations WHERE seq = ?", (seq,))


def branch(
    connection: sqlite3.Connection,
    user: str,
    conversation_id: str,
    message_id: str,
    title: str,
) -> Conversation:
    """Begin another conversation with all up to a message."""
    origin = find(connection, user, conversation_id)
    end = connection.execute(
        "SELECT seq FROM messages WHERE id = ? AND conversation = ?", (message_id, origin[0])
    ).fetchone()
    if end is None:
        raise NotFound(
            f"There is no message {message_id[:80]!r} in this conversation.", param="message_id"
        )
    rows = connection.execute(
        f"SELECT {MESSAGE} FROM messages m WHERE m.conversation = ? AND m.seq <= ? ORDER BY m.seq",
        (origin[0], end[0]),
    )
    shared = tuple(
        NewMessage(m.role, m.content, None, m.created_at, m.model, m.incomplete)
        for m in map(to_message, rows)
    )
    made = insert(connection, user, Transcript(shared, title or origin[2], now()))
    connection.execute(
        # A branch is new, however old its messages are.
        "UPDATE conversations SET branch_of = ?, branch_message = ?, updated_at = created_at "
        "WHERE id = ?",
        (conversation_id, message_id, made.id),
    )
    return to_conversation(find(connection, user, made.id))


def bring_in(
    connection: sqlite3.Connection, user: str, transcripts: Sequence[Transcript]
) -> Imported:
    """Import conversations, all or none; those that were imported before are left alone."""
    number = _ensure_user(connection, user)
    made, skipped = [], 0
    for transcript in transcripts:
        if _is_there(connection, number, transcript.origin):
            skipped += 1
        else:
            made.append(insert(connection, user, transcript))
    return Imported(tuple(made), skipped)


def to_title(text: str) -> str:
    """Put a title on one line, of a length that can be shown."""
    return one_line(text[: 8 * TITLE_LENGTH])[:TITLE_LENGTH]


def _append(
    connection: sqlite3.Connection, row: Row, user: int, messages: Sequence[NewMessage]
) -> list[StoredMessage]:
    conversation, title = row[0], row[2]
    stored, new = [], []
    for message in messages:
        kept = _find_message(connection, conversation, message)
        if kept is None:
            kept = _insert_message(connection, conversation, user, message)
            new.append(kept)
        stored.append(kept)
    if not new:
        return stored
    last = new[-1]
    title = title or make_title(next((each.content for each in new if each.role == "user"), ""))
    at = to_text(last.created_at)
    connection.execute(
        "UPDATE conversations SET message_count = message_count + ?, updated_at = ?, last_id = ?, "
        "last_role = ?, last_preview = ?, last_at = ? WHERE seq = ?",
        (len(new), at, last.id, last.role, preview_of(last.content), at, conversation),
    )
    if title != row[2]:
        connection.execute(
            "UPDATE conversations SET title = ? WHERE seq = ?", (title, conversation)
        )
    return stored


def _find_message(
    connection: sqlite3.Connection, conversation: int, message: NewMessage
) -> StoredMessage | None:
    """Find the message that was stored under the id that a client chose. Raises Conflict."""
    if message.id is None:
        return None
    row = connection.execute(
        f"SELECT {MESSAGE}, m.conversation FROM messages m WHERE m.id = ?", (message.id,)
    ).fetchone()
    if row is None:
        return None
    kept = to_message(row[:-1])
    if (row[-1], kept.role, kept.content) != (conversation, message.role, message.content):
        raise Conflict(
            f"The id {message.id} belongs to another message already; send a fresh one.",
            param="id",
        )
    return kept


def _insert_message(
    connection: sqlite3.Connection, conversation: int, user: int, message: NewMessage
) -> StoredMessage:
    kept = StoredMessage(
        message.id or new_id(),
        message.role,
        message.content,
        message.created_at or now(),
        message.model,
        message.incomplete,
    )
    connection.execute(
        "INSERT INTO messages "
        "(id, conversation, user, role, created_at, model, incomplete, content) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            kept.id,
            conversation,
            user,
            kept.role,
            to_text(kept.created_at),
            kept.model,
            kept.incomplete,
            kept.content,
        ),
    )
    return kept


def _ensure_user(connection: sqlite3.Connection, name: str) -> int:
    found = user_of(connection, name)
    if found is not None:
        return found
    made = connection.execute("INSERT INTO users (name) VALUES (?)", (name,)).lastrowid
    assert made is not None
    return made


def _is_there(connection: sqlite3.Connection, user: int, origin: str) -> bool:
    if not origin:
        return False
    found = connection.execute(
        "SELECT 1 FROM conversations WHERE user = ? AND origin = ?", (user, origin)
    ).fetchone()
    return found is not None


def _by_seq(connection: sqlite3.Connection, seq: int | None) -> Row:
    row: Row = connection.execute(
        f"SELECT {CONVERSATION} FROM conversations c WHERE c.seq = ?", (seq,)
    ).fetchone()
    return row
