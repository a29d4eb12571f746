"""What every store's search does: it finds words, and takes any text."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.shared.state_ports import Conversations
from tests.state_here import said

HOSTILE = (
    '"', "''", '"unclosed', "a AND", "OR OR OR", "NOT", "NEAR(", "NEAR(a b, 2)", "*", "a*", "^a",
    "text : a", "owner:u1", "{owner text}: a", "-", "--", "a - b", "(", ")", "(()", "a AND (b",
    "\0", "a\0b", "%", "_", "\\", ";", "'; DROP TABLE messages; --", "\U0001f600", "ﷺ", "\u202e",
    "日本語", "a" * 5000, "a " * 5000, '" OR owner : "u2', "u1", "\ud7ff", "²", "½", "e\u0301",
)  # fmt: skip


async def _titles(store: Conversations, text: str, user: str = "ann") -> list[str]:
    return [each.title for each in (await store.search(user, text)).data]


async def test_words_are_found_in_titles_and_messages(store: Conversations) -> None:
    await store.create("ann", title="Sailing", messages=[said("How do I tie a bowline?")])
    await store.create("ann", title="Knots", messages=[said("Sailing is fun")])
    await store.create("ann", title="Cooking", messages=[said("Soup")])

    assert await _titles(store, "sailing") == ["Sailing", "Knots"]
    assert await _titles(store, "BOWLINE") == ["Sailing"]
    assert await _titles(store, "tie bowline") == ["Sailing"]
    assert await _titles(store, "tie soup") == []


async def test_accents_make_no_difference(store: Conversations) -> None:
    await store.create("ann", title="Café", messages=[said("Crème brûlée")])

    assert await _titles(store, "creme BRULEE") == ["Café"]
    assert await _titles(store, "cafe") == ["Café"]


async def test_a_conversation_is_found_once_however_often_it_matches(store: Conversations) -> None:
    await store.create("ann", title="Bees", messages=[said("bees"), said("bees bees")])

    assert await _titles(store, "bees") == ["Bees"]


async def test_an_excerpt_shows_where_the_words_are(store: Conversations) -> None:
    text = "Nothing to see. " * 40 + "The treasure lies below the oak." + " And so on." * 40
    await store.create("ann", title="A map", messages=[said(text)])

    (found,) = (await store.search("ann", "treasure")).data

    assert "The treasure lies" in found.excerpt
    assert len(found.excerpt) < 200


async def test_a_changed_title_is_found_by_its_new_words_alone(store: Conversations) -> None:
    made = await store.create("ann", title="Draft")

    await store.rename("ann", made.id, "Final")

    assert await _titles(store, "draft") == []
    assert await _titles(store, "final") == ["Final"]


async def test_pages_of_a_search_show_each_conversation_once(store: Conversations) -> None:
    for n in range(7):
        title = f"apple {n}" if n % 2 else f"pear {n}"
        messages = [said("one apple"), said("many words"), said("apple again")]
        await store.create("ann", title=title, messages=messages)
    whole = await _titles(store, "apple")

    shown: list[str] = []
    cursor = None
    while True:
        page = await store.search("ann", "apple", limit=2, cursor=cursor)
        shown += [each.title for each in page.data]
        await store.create("ann", title="apple, too late", messages=[said("apple")])
        cursor = page.next_cursor
        if cursor is None:
            break

    assert shown == whole
    assert len(shown) == 7
    assert shown[:3] == ["apple 5", "apple 3", "apple 1"]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_text_is_only_looked_for(store: Conversations, text: str) -> None:
    await store.create("bob", title="u1 a b", messages=[said("a b u2")])
    await store.create("ann", title="Mine", messages=[said(f"words {text} words")])

    found = await _titles(store, text)

    assert set(found) <= {"Mine"}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60))
async def test_any_text_is_a_safe_query(store: Conversations, text: str) -> None:
    page = await store.search("ann", text)

    assert page.next_cursor is None


async def test_a_text_without_words_finds_nothing(store: Conversations) -> None:
    await store.create("ann", messages=[said("?! ... ?!")])

    assert await _titles(store, "?!") == []
