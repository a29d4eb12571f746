"""The first steps of the schema: users, conversations, their search index, and usage.

Released steps, never to be edited. Times are ISO 8601 text in UTC with microseconds, which sorts
as time does.
"""

import sqlite3

CONVERSATIONS = (
    """
    CREATE TABLE users (
        seq INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE
    ) STRICT
    """,
    """
    CREATE TABLE conversations (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        user INTEGER NOT NULL REFERENCES users (seq),
        title TEXT NOT NULL,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL,
        message_count INTEGER NOT NULL DEFAULT 0,
        last_id TEXT,
        last_role TEXT,
        last_preview TEXT,
        last_at TEXT,
        branch_of TEXT,
        branch_message TEXT,
        origin TEXT
    ) STRICT
    """,
    # A list is read off this index, newest first, without sorting.
    "CREATE INDEX conversations_by_time ON conversations (user, updated_at DESC, seq DESC)",
    """
    CREATE UNIQUE INDEX conversations_by_origin ON conversations (user, origin)
    WHERE origin IS NOT NULL
    """,
    """
    CREATE TABLE messages (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        conversation INTEGER NOT NULL REFERENCES conversations (seq),
        user INTEGER NOT NULL,
        role TEXT NOT NULL,
        created_at TEXT NOT NULL,
        model TEXT NOT NULL DEFAULT '',
        incomplete INTEGER NOT NULL DEFAULT 0,
        content TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX messages_by_conversation ON messages (conversation, seq)",
    # The owner is a word of the index, so that a search reads nobody else's matches.
    """
    CREATE VIEW message_texts AS
    SELECT seq, 'u' || user AS owner, content AS text FROM messages
    """,
    "CREATE VIEW title_texts AS SELECT seq, 'u' || user AS owner, title AS text FROM conversations",
    """
    CREATE VIRTUAL TABLE message_words USING fts5 (
        owner, text, content = 'message_texts', content_rowid = 'seq',
        tokenize = "unicode61 remove_diacritics 2"
    )
    """,
    """
    CREATE VIRTUAL TABLE title_words USING fts5 (
        owner, text, content = 'title_texts', content_rowid = 'seq',
        tokenize = "unicode61 remove_diacritics 2"
    )
    """,
    """
    CREATE TRIGGER messages_insert AFTER INSERT ON messages BEGIN
        INSERT INTO message_words (rowid, owner, text)
        VALUES (new.seq, 'u' || new.user, new.content);
    END
    """,
    """
    CREATE TRIGGER messages_delete AFTER DELETE ON messages BEGIN
        INSERT INTO message_words (message_words, rowid, owner, text)
        VALUES ('delete', old.seq, 'u' || old.user, old.content);
    END
    """,
    """
    CREATE TRIGGER messages_update AFTER UPDATE OF seq, user, content ON messages BEGIN
        INSERT INTO message_words (message_words, rowid, owner, text)
        VALUES ('delete', old.seq, 'u' || old.user, old.content);
        INSERT INTO message_words (rowid, owner, text)
        VALUES (new.seq, 'u' || new.user, new.content);
    END
    """,
    """
    CREATE TRIGGER conversations_insert AFTER INSERT ON conversations BEGIN
        INSERT INTO title_words (rowid, owner, text) VALUES (new.seq, 'u' || new.user, new.title);
    END
    """,
    """
    CREATE TRIGGER conversations_delete AFTER DELETE ON conversations BEGIN
        INSERT INTO title_words (title_words, rowid, owner, text)
        VALUES ('delete', old.seq, 'u' || old.user, old.title);
    END
    """,
    """
    CREATE TRIGGER conversations_update AFTER UPDATE OF seq, user, title ON conversations BEGIN
        INSERT INTO title_words (title_words, rowid, owner, text)
        VALUES ('delete', old.seq, 'u' || old.user, old.title);
        INSERT INTO title_words (rowid, owner, text) VALUES (new.seq, 'u' || new.user, new.title);
    END
    """,
)

USAGE = (
    """
    CREATE TABLE usage (
        seq INTEGER PRIMARY KEY,
        at TEXT NOT NULL,
        user TEXT NOT NULL,
        key TEXT NOT NULL,
        backend TEXT NOT NULL,
        model TEXT NOT NULL,
        input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        estimated INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE INDEX usage_by_time ON usage (at)",
    """
    CREATE TABLE usage_days (
        day TEXT NOT NULL,
        user TEXT NOT NULL,
        key TEXT NOT NULL,
        backend TEXT NOT NULL,
        model TEXT NOT NULL,
        answers INTEGER NOT NULL,
        input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        PRIMARY KEY (day, user, key, backend, model)
    ) STRICT, WITHOUT ROWID
    """,
)


def create_conversations(connection: sqlite3.Connection) -> None:
    """Make users, conversations and messages, and their index of words."""
    for statement in CONVERSATIONS:
        connection.execute(statement)


def create_usage(connection: sqlite3.Connection) -> None:
    """Make the counted answers, and their sums by day."""
    for statement in USAGE:
        connection.execute(statement)
