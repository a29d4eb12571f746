"""Conversations in the database: the store behind the Conversations port.

Every method is one transaction: a read in one view, or a write that is committed when it returns.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Sequence
from typing import Any

from portal.runtime.state import conversation_rows, search
from portal.runtime.state.database import Database
from portal.runtime.state.rows import (
    CONVERSATION,
    MESSAGE,
    RowNumber,
    read_cursor,
    to_conversation,
    to_message,
    user_of,
    write_cursor,
)
from portal.shared.conversations import (
    Conversation,
    ConversationPage,
    Imported,
    MessagePage,
    NewMessage,
    StoredMessage,
    Transcript,
)
from portal.shared.errors import PortalError

log = logging.getLogger("portal.state")
INTEGER = 2**63 - 1


class ConversationStore:
    """Implements the Conversations port over one database."""

    def __init__(self, database: Database, *, search_matches: int) -> None:
        self._database = database
        self._search_matches = search_matches
        self._keeping: set[asyncio.Task[Any]] = set()

    async def create(
        self, user: str, *, title: str = "", messages: Sequence[NewMessage] = ()
    ) -> Conversation:
        transcript = Transcript(tuple(messages), title)
        return await self._database.write(
            lambda connection: conversation_rows.insert(connection, user, transcript)
        )

    async def get(self, user: str, conversation_id: str) -> Conversation:
        return await self._database.read(
            lambda connection: to_conversation(
                conversation_rows.find(connection, user, conversation_id)
            )
        )

    async def list(
        self, user: str, *, limit: int = 50, cursor: str | None = None
    ) -> ConversationPage:
        after = None if cursor is None else read_cursor(cursor, tuple[str, RowNumber])
        return await self._database.read(lambda connection: _list(connection, user, limit, after))

    async def search(
        self, user: str, text: str, *, limit: int = 50, cursor: str | None = None
    ) -> ConversationPage:
        after = None if cursor is None else read_cursor(cursor, search.Place)
        most = self._search_matches
        return await self._database.read(
            lambda connection: search.search(connection, user, text, limit, after, most)
        )

    async def rename(self, user: str, conversation_id: str, title: str) -> Conversation:
        return await self._database.write(
            lambda connection: conversation_rows.rename(connection, user, conversation_id, title)
        )

    async def delete(self, user: str, conversation_id: str) -> None:
        await self._database.write(
            lambda connection: conversation_rows.delete(connection, user, conversation_id)
        )

    async def add(
        self,
        user: str,
        conversation_id: str,
        messages: Sequence[NewMessage],
    ) -> Sequence[StoredMessage]:
        given = tuple(messages)
        return await self._database.write(
            lambda connection: conversation_rows.add(connection, user, conversation_id, given)
        )

    def keep(self, user: str, conversation_id: str, message: NewMessage) -> None:
        task = asyncio.create_task(self._keep(user, conversation_id, message), name="keep-message")
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    async def messages(
        self,
        user: str,
        conversation_id: str,
        *,
        limit: int = 50,
        cursor: str | None = None,
        newest_first: bool = False,
    ) -> MessagePage:
        after = None if cursor is None else read_cursor(cursor, tuple[RowNumber])[0]
        return await self._database.read(
            lambda connection: _messages(
                connection, user, conversation_id, limit, after, newest_first
            )
        )

    async def history(self, user: str, conversation_id: str) -> Sequence[StoredMessage]:
        def work(connection: sqlite3.Connection) -> Sequence[StoredMessage]:
            seq = conversation_rows.find(connection, user, conversation_id)[0]
            rows = connection.execute(
                f"SELECT {MESSAGE} FROM messages m WHERE m.conversation = ? ORDER BY m.seq",
                (seq,),
            )
            return [to_message(row) for row in rows]

        return await self._database.read(work)

    async def branch(
        self,
        user: str,
        conversation_id: str,
        message_id: str,
        *,
        title: str = "",
    ) -> Conversation:
        return await self._database.write(
            lambda connection: conversation_rows.branch(
                connection, user, conversation_id, message_id, title
            )
        )

    async def bring_in(self, user: str, transcripts: Sequence[Transcript]) -> Imported:
        given = tuple(transcripts)
        return await self._database.write(
            lambda connection: conversation_rows.bring_in(connection, user, given)
        )

    async def finish(self) -> None:
        """Wait for what is being kept; before the database is closed."""
        while self._keeping:
            await asyncio.wait(self._keeping)

    async def _keep(self, user: str, conversation_id: str, message: NewMessage) -> None:
        try:
            await self.add(user, conversation_id, (message,))
        except PortalError as error:
            # Its conversation may be gone by now; the database's own troubles are told elsewhere.
            log.warning("An unfinished answer was not kept: %s", error.message)


def _list(
    connection: sqlite3.Connection, user: str, limit: int, after: tuple[str, int] | None
) -> ConversationPage:
    number = user_of(connection, user)
    at, seq = after or ("A", INTEGER)  # letters sort after every time
    rows = connection.execute(
        f"SELECT {CONVERSATION} FROM conversations c "
        "WHERE c.user = ? AND (c.updated_at, c.seq) < (?, ?) "
        "ORDER BY c.updated_at DESC, c.seq DESC LIMIT ?",
        (number, at, seq, limit + 1),
    ).fetchall()
    more = len(rows) > limit
    del rows[limit:]
    return ConversationPage(
        tuple(to_conversation(row) for row in rows),
        write_cursor(rows[-1][4], rows[-1][0]) if more else None,
    )


def _messages(
    connection: sqlite3.Connection,
    user: str,
    conversation_id: str,
    limit: int,
    after: int | None,
    newest_first: bool,
) -> MessagePage:
    conversation = conversation_rows.find(connection, user, conversation_id)[0]
    order, sign, start = ("DESC", "<", INTEGER) if newest_first else ("ASC", ">", -1)
    rows = connection.execute(
        f"SELECT {MESSAGE} FROM messages m "
        f"WHERE m.conversation = ? AND m.seq {sign} ? ORDER BY m.seq {order} LIMIT ?",
        (conversation, start if after is None else after, limit + 1),
    ).fetchall()
    more = len(rows) > limit
    del rows[limit:]
    return MessagePage(
        tuple(to_message(row) for row in rows), write_cursor(rows[-1][0]) if more else None
    )
