"""Lists take the same few queries however much is in them (S7)."""

from pathlib import Path

import pytest

from portal.runtime.state.conversations import ConversationStore
from tests.state_here import open_database, said

READS = ("SELECT", "WITH")


@pytest.mark.parametrize("search", [None, "word"])
async def test_listing_many_conversations_takes_as_many_queries_as_listing_one(
    tmp_path: Path, search: str | None
) -> None:
    statements: list[str] = []
    counts = []
    async with open_database(tmp_path, trace=statements.append) as database:
        store = ConversationStore(database, search_matches=5000)
        for total in (1, 40):
            for number in range(total):
                kept = await store.create("ann", title=f"word {number}")
                for turn in range(3):
                    await store.add("ann", kept.id, [said(f"word {turn}")])
            statements.clear()
            if search is None:
                found = await store.list("ann", limit=50)
            else:
                found = await store.search("ann", search, limit=50)
            assert len(found.data) >= total
            counts.append(sum(each.lstrip().upper().startswith(READS) for each in statements))
        await store.finish()
    assert counts[0] == counts[1] > 0
