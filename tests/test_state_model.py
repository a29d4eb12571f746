"""Random operations on conversations, against a plain model; then every index and count holds."""

import asyncio
import contextlib
import re
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from portal.runtime.state.conversations import ConversationStore
from portal.runtime.state.copying import NAME
from portal.shared.conversations import StoredMessage, make_title, now, one_line, to_history
from portal.shared.messages import Message
from tests.state_here import open_database, open_store, said

WORDS = ("apple", "pear", "plum", "kiwi")
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
INNER = re.compile(r"^-- |data_version$|_words_config'$")
OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(("create", "add", "rename", "delete", "branch")),
        st.integers(0, 7),
        TEXTS,
        st.sampled_from(("ann", "bob")),
    ),
    max_size=25,
)


class Model:
    """What the store should hold: users, their conversations, titles and texts."""

    def __init__(self) -> None:
        self.titles: dict[tuple[str, str], str] = {}
        self.texts: dict[tuple[str, str], list[str]] = {}

    def found(self, user: str, word: str) -> set[str]:
        """Name the conversations with a word in the title or a message."""
        return {
            id_
            for (owner, id_), title in self.titles.items()
            if owner == user
            and (word in title.split() or any(word in t.split() for t in self.texts[owner, id_]))
        }


async def _run(folder: Path, operations: list[Any]) -> None:
    model = Model()
    async with open_store(folder) as store:
        for kind, number, text, user in operations:
            owned = [key for key in model.titles if key[0] == user]
            if kind == "create" or not owned:
                made = await store.create(user, title=text)
                model.titles[user, made.id] = text
                model.texts[user, made.id] = []
                continue
            key = owned[number % len(owned)]
            match kind:
                case "add":
                    await store.add(user, key[1], [said(text)])
                    model.texts[key].append(text)
                case "rename":
                    await store.rename(user, key[1], text)
                    model.titles[key] = text
                case "delete":
                    await store.delete(user, key[1])
                    del model.titles[key], model.texts[key]
                case "branch" if model.texts[key]:
                    history = await store.history(user, key[1])
                    at = number % len(history)
                    made = await store.branch(user, key[1], history[at].id)
                    model.titles[user, made.id] = model.titles[key]
                    model.texts[user, made.id] = model.texts[key][: at + 1]
        for user in ("ann", "bob"):
            listed = {each.id: each for each in (await store.list(user, limit=200)).data}
            assert {id_ for owner, id_ in model.titles if owner == user} == set(listed)
            for id_, each in listed.items():
                texts = model.texts[user, id_]
                assert [m.content for m in await store.history(user, id_)] == texts
                assert (each.title, each.message_count) == (model.titles[user, id_], len(texts))
                last = each.last_message
                assert (last.preview if last else None) == (texts[-1] if texts else None)
            for word in WORDS:
                page = await store.search(user, word, limit=200)
                assert {each.id for each in page.data} == model.found(user, word)
    with contextlib.closing(sqlite3.connect(folder / NAME)) as connection:
        for index in ("message_words", "title_words"):
            connection.execute(f"INSERT INTO {index} ({index}, rank) VALUES ('integrity-check', 1)")


@settings(max_examples=25, deadline=None)
@given(operations=OPERATIONS)
def test_the_store_does_what_a_plain_model_does(operations: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_run(Path(folder), operations))


async def test_a_list_takes_as_many_statements_for_fifty_as_for_one(tmp_path: Path) -> None:
    statements: list[str] = []
    async with open_database(tmp_path, trace=statements.append) as database:
        store = ConversationStore(database, search_matches=5000)
        for n in range(60):
            await store.create("ann", messages=[said(f"apple {n}"), said("pear", "assistant")])
        counts = []
        for limit in (2, 50):
            for asking in (
                store.list("ann", limit=limit),
                store.search("ann", "apple", limit=limit),
                store.search("ann", "pear", limit=limit),
            ):
                statements.clear()
                page = await asking
                assert len(page.data) == limit
                assert all(each.last_message is not None for each in page.data)
                # The index of words reads its own tables, once for each piece of it.
                own = [each for each in statements if not INNER.search(each)]
                counts.append(len(own))

    assert counts[:3] == counts[3:]
    assert max(counts) <= 8


@given(text=st.text(max_size=400))
def test_a_made_title_is_one_short_printable_line(text: str) -> None:
    title = make_title(text)

    assert len(title) <= 60
    assert title == one_line(title)
    assert title.isprintable()
    assert bool(title) == bool(one_line(text))


def test_a_made_title_ends_with_a_whole_word() -> None:
    text = "Please explain to me how a refrigerator moves heat from inside to outside"

    assert make_title(text) == "Please explain to me how a refrigerator moves heat from…"


def test_history_joins_what_one_side_said_in_several_messages() -> None:
    def stored(role: Any, content: str) -> StoredMessage:
        return StoredMessage("id", role, content, now())

    history = to_history(
        [
            stored("system", "Be brief."),
            stored("system", "Be kind."),
            stored("user", "One"),
            stored("assistant", " "),
            stored("user", "Two"),
            stored("assistant", "Three"),
        ]
    )

    assert history == (
        Message("system", "Be brief."),
        Message("system", "Be kind."),
        Message("user", "One\n\nTwo"),
        Message("assistant", "Three"),
    )


async def test_a_search_looks_no_further_than_it_is_told(tmp_path: Path) -> None:
    async with open_store(tmp_path, search_matches=3) as store:
        for n in range(5):
            await store.create("ann", title=f"Number {n}", messages=[said("apple")])

        found = await store.search("ann", "apple")

    assert [each.title for each in found.data] == ["Number 4", "Number 3", "Number 2"]
    assert found.next_cursor is None
