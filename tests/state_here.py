"""A database and its store in this process, for tests of what Portal remembers."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from portal.runtime.ops import schema
from portal.runtime.state.conversations import ConversationStore
from portal.runtime.state.database import Database
from portal.shared.conversations import NewMessage


@contextlib.asynccontextmanager
async def open_database(
    folder: Path, *, trace: Any = None, **settings: Any
) -> AsyncIterator[Database]:
    """Open a database in a folder, and close it whatever happens."""
    quick = {"busy_seconds": 0.2, "retry_seconds": 0.05} | settings
    database = Database(folder, schema.State(**quick), trace=trace)
    await database.start()
    try:
        yield database
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def open_store(
    folder: Path, *, search_matches: int = 5000
) -> AsyncIterator[ConversationStore]:
    """Open a store over a database of its own."""
    async with open_database(folder) as database:
        store = ConversationStore(database, search_matches=search_matches)
        try:
            yield store
        finally:
            await store.finish()


def said(text: str, role: Any = "user", **more: Any) -> NewMessage:
    """Make a message."""
    return NewMessage(role, text, **more)
