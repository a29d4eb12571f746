"""Search over titles and messages: any text is a safe query, and the work is bounded.

Conversations whose title matches come first, then those with a matching message; both the newest
match first. Nothing is ranked, so a page costs no more than what it shows, and pages stay true
while conversations are added: a cursor names the newest rows that the first page could see.
"""

import re
import sqlite3
from collections.abc import Iterator
from typing import Any

import msgspec

from portal.runtime.state.rows import (
    CONVERSATION,
    RowNumber,
    to_conversation,
    user_of,
    write_cursor,
)
from portal.shared.conversations import Conversation, ConversationPage, one_line

MOST_WORDS = 32
"""Words of a query that are looked for; more would only narrow down to nothing."""
LONGEST_QUERY = 1000
EXCERPT_LENGTH = 160
EXCERPT_LEAD = 60
"""Characters of an excerpt before the word that was found."""
READ_LENGTH = 20_000
"""Characters of a message in which its excerpt is looked for."""


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a page of a search begins."""

    titles: RowNumber
    """The newest conversation that the search sees."""
    messages: RowNumber
    """The newest message that it sees."""
    in_titles: bool
    """Whether the last page ended among the matching titles."""
    last: RowNumber
    """The row that matched last."""


class Match(msgspec.Struct, frozen=True):
    """One conversation that was found, by its title or a message."""

    conversation: int
    in_title: bool
    row: int


def search(
    connection: sqlite3.Connection,
    user: str,
    text: str,
    limit: int,
    after: Place | None,
    most: int,
) -> ConversationPage:
    """Find a page of a user's conversations that have all words of a text, in one place each."""
    number, words = user_of(connection, user), words_of(text)
    if number is None or not words:
        return ConversationPage(())
    query = match_expression(number, words)
    place = after or Place(*_newest(connection), in_titles=True, last=2**63 - 1)
    found: list[Match] = []
    for match in _after(_matches(connection, query, place, most), after):
        found.append(match)
        if len(found) > limit:
            break
    more = len(found) > limit
    del found[limit:]
    following = None
    if more:
        last = found[-1]
        following = write_cursor(place.titles, place.messages, last.in_title, last.row)
    return ConversationPage(tuple(_shown(connection, found, words)), following)


def words_of(text: str) -> list[str]:
    """Take the words out of whatever a person typed; pure."""
    pieces = text[:LONGEST_QUERY].replace("\0", " ").split()
    return [piece for piece in pieces if any(c.isalnum() for c in piece)][:MOST_WORDS]


def match_expression(user: int, words: list[str]) -> str:
    """Write the query of the index; quoted, no word has a meaning of its own there. Pure."""
    quoted = " AND ".join('"' + word.replace('"', '""') + '"' for word in words)
    return f'owner : "u{user}" AND text : ({quoted})'


def make_excerpt(text: str, words: list[str]) -> str:
    """Cut out the surroundings of the first word that is found, on one line; pure."""
    bare = [part for word in words for part in re.findall(r"\w+", word)]
    pattern = "|".join(rf"\b{re.escape(part)}\b" for part in bare) or r"(?!)"
    found = re.search(pattern, text, re.IGNORECASE)
    # A word that is written with other accents is found by the index alone.
    start = max(0, found.start() - EXCERPT_LEAD) if found else 0
    piece = text[start : start + EXCERPT_LENGTH]
    cut_before, cut_after = start > 0, start + EXCERPT_LENGTH < len(text)
    return f"{'…' if cut_before else ''}{one_line(piece)}{'…' if cut_after else ''}"


def _newest(connection: sqlite3.Connection) -> tuple[int, int]:
    newest: tuple[int, int] = connection.execute(
        "SELECT (SELECT coalesce(max(seq), 0) FROM conversations), "
        "(SELECT coalesce(max(seq), 0) FROM messages)"
    ).fetchone()
    return newest


def _matches(
    connection: sqlite3.Connection, query: str, place: Place, most: int
) -> Iterator[Match]:
    """Give each conversation once, by its first match; reads on only as far as it is asked."""
    seen = set()
    rows: Any = connection.execute(
        "SELECT rowid FROM title_words WHERE title_words MATCH ? AND rowid <= ? "
        "ORDER BY rowid DESC LIMIT ?",
        (query, place.titles, most),
    )
    for (row,) in rows:
        seen.add(row)
        yield Match(row, in_title=True, row=row)
    rows = connection.execute(
        "SELECT w.rowid, m.conversation FROM message_words w "
        "CROSS JOIN messages m ON m.seq = w.rowid "
        "WHERE w.message_words MATCH ? AND w.rowid <= ? ORDER BY w.rowid DESC LIMIT ?",
        (query, place.messages, most),
    )
    for row, conversation in rows:
        if conversation not in seen:
            seen.add(conversation)
            yield Match(conversation, in_title=False, row=row)


def _after(matches: Iterator[Match], place: Place | None) -> Iterator[Match]:
    """Leave out what earlier pages showed; titles come before messages, newer before older."""
    for match in matches:
        if place is None or (not match.in_title, -match.row) > (not place.in_titles, -place.last):
            yield match


def _shown(
    connection: sqlite3.Connection, found: list[Match], words: list[str]
) -> Iterator[Conversation]:
    """Load what was found, in its order, with excerpts of the messages."""
    rows = connection.execute(
        f"SELECT {CONVERSATION} FROM conversations c "
        "WHERE c.seq IN (SELECT value FROM json_each(?))",
        (_json([match.conversation for match in found]),),
    )
    conversations = {row[0]: row for row in rows}
    texts: dict[int, str] = dict(
        connection.execute(
            "SELECT seq, substr(content, 1, ?) FROM messages "
            "WHERE seq IN (SELECT value FROM json_each(?))",
            (READ_LENGTH, _json([match.row for match in found if not match.in_title])),
        ).fetchall()
    )
    for match in found:
        row = conversations[match.conversation]
        text = row[2] if match.in_title else texts[match.row]
        yield to_conversation(row, make_excerpt(text, words))


def _json(numbers: list[int]) -> str:
    return msgspec.json.encode(numbers).decode()
