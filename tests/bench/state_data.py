"""Generate a database of many conversations: `python -m tests.bench.state_data FOLDER`.

The same numbers give the same texts: words by Zipf's law, so that some are in most messages, one
in a fiftieth, and one in almost none.
"""

import argparse
import asyncio
import random
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from portal.runtime.ops import schema
from portal.runtime.state.copying import NAME
from portal.runtime.state.database import Database
from portal.runtime.state.rows import to_text
from portal.shared.ids import new_id

USER = "local"
CONVERSATIONS = 100_000
MESSAGES = 1_000_000
WORDS = 20_000
RARE, MIDDLE, COMMON = "xylophone", "lighthouse", "people"
RARE_EACH, MIDDLE_EACH, COMMON_EACH = 11_000, 55, 3
"""One message in so many has the word."""
BATCH = 1000
BEGINNING = datetime(2024, 1, 1, tzinfo=UTC)


async def generate(folder: Path, conversations: int, messages: int) -> None:
    """Fill a database in a folder, which is made where it is missing."""
    database = Database(folder, schema.State())
    await database.start()
    await database.close()
    connection = sqlite3.connect(folder / NAME, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("INSERT INTO users (seq, name) VALUES (1, ?)", (USER,))
    each = messages // conversations
    texts = _texts(random.Random(1))
    for start in range(0, conversations, BATCH):
        connection.execute("BEGIN")
        numbers = range(start, min(start + BATCH, conversations))
        _insert(connection, numbers, each, texts)
        connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _insert(
    connection: sqlite3.Connection, numbers: range, each: int, texts: Iterator[str]
) -> None:
    conversations: list[tuple[Any, ...]] = []
    messages: list[tuple[Any, ...]] = []
    for number in numbers:
        at = BEGINNING + timedelta(minutes=5 * number)
        last: tuple[str, ...] = ()
        first = ""
        for turn in range(each):
            text = next(texts)
            first = first or text
            role = "assistant" if turn % 2 else "user"
            last = (new_id(), role, text, to_text(at + timedelta(seconds=10 * turn)))
            messages.append((last[0], number + 1, 1, role, last[3], text))
        began = (number + 1, new_id(), 1, first[:60], to_text(at), last[3], each)
        conversations.append((*began, last[0], last[1], last[2][:200], last[3]))
    connection.executemany(
        "INSERT INTO conversations (seq, id, user, title, created_at, updated_at, message_count, "
        "last_id, last_role, last_preview, last_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        conversations,
    )
    connection.executemany(
        "INSERT INTO messages (id, conversation, user, role, created_at, content) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        messages,
    )


def _texts(chance: random.Random) -> Iterator[str]:
    """Give texts of some thirty words, without end."""
    vocabulary = [_word(chance) for _ in range(WORDS)]
    weights = [1 / (rank + 1) for rank in range(WORDS)]
    pool = chance.choices(vocabulary, weights, k=500_000)
    number = 0
    while True:
        number += 1
        start = chance.randrange(len(pool) - 60)
        words = pool[start : start + chance.randint(5, 55)]
        for word, of in ((RARE, RARE_EACH), (MIDDLE, MIDDLE_EACH), (COMMON, COMMON_EACH)):
            if number % of == 0:
                words.append(word)
        yield " ".join(words)


def _word(chance: random.Random) -> str:
    return "".join(
        chance.choice("bcdfghklmnprstvw") + chance.choice("aeiou")
        for _ in range(chance.randint(1, 4))
    )


def main() -> None:
    """Generate as many as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.state_data", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--conversations", type=int, default=CONVERSATIONS)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    options = parser.parse_args()
    asyncio.run(generate(options.folder, options.conversations, options.messages))


if __name__ == "__main__":
    main()
