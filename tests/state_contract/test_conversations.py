"""What every store of conversations does, whatever it keeps them in."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from portal.shared.conversations import Transcript
from portal.shared.errors import Conflict, InvalidRequest, NotFound
from portal.shared.ids import new_id
from portal.shared.state_ports import Conversations
from tests.state_here import said

LONG_AGO = datetime(2020, 2, 29, 12, 30, tzinfo=UTC)
NOBODY = "01900000-0000-7000-8000-000000000000"


async def _all_ids(store: Conversations, user: str = "ann", limit: int = 2) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        page = await store.list(user, limit=limit, cursor=cursor)
        found += [each.id for each in page.data]
        cursor = page.next_cursor
        if cursor is None:
            return found


async def test_a_conversation_keeps_what_was_said_in_its_order(store: Conversations) -> None:
    made = await store.create("ann", messages=[said("One"), said("Two", "assistant")])
    await store.add("ann", made.id, [said("Three")])

    history = await store.history("ann", made.id)

    assert [(each.role, each.content) for each in history] == [
        ("user", "One"),
        ("assistant", "Two"),
        ("user", "Three"),
    ]


async def test_a_conversation_tells_its_count_and_last_message(store: Conversations) -> None:
    made = await store.create("ann", messages=[said("One")])
    (last,) = await store.add("ann", made.id, [said("Two\nlines", "assistant")])

    found = await store.get("ann", made.id)

    assert found.message_count == 2
    assert found.last_message is not None
    assert (found.last_message.id, found.last_message.preview) == (last.id, "Two lines")
    assert found.updated_at == last.created_at


async def test_times_come_back_as_they_were_in_utc(store: Conversations) -> None:
    at = datetime(2026, 3, 29, 1, 59, 59, 123456, tzinfo=UTC).astimezone(
        tz=datetime.now().astimezone().tzinfo
    )
    made = await store.create("ann", messages=[said("One", created_at=at)])

    (message,) = await store.history("ann", made.id)

    assert message.created_at == at
    assert message.created_at.utcoffset() == timedelta(0)


async def test_the_first_message_of_a_user_makes_the_title(store: Conversations) -> None:
    made = await store.create("ann")
    assert made.title == ""

    await store.add("ann", made.id, [said("Be brief.", "system")])
    await store.add("ann", made.id, [said("What is\na monad?")])
    await store.add("ann", made.id, [said("And a functor?")])

    assert (await store.get("ann", made.id)).title == "What is a monad?"


async def test_a_title_can_be_changed_but_not_taken_away(store: Conversations) -> None:
    made = await store.create("ann", messages=[said("One")])

    renamed = await store.rename("ann", made.id, "  Numbers\tand\nmore ")

    assert renamed.title == "Numbers and more"
    with pytest.raises(InvalidRequest, match="empty"):
        await store.rename("ann", made.id, " \n ")


async def test_lists_begin_with_the_conversation_spoken_in_last(store: Conversations) -> None:
    made = [await store.create("ann", messages=[said(f"Number {n}")]) for n in range(3)]
    await store.add("ann", made[0].id, [said("More")])

    page = await store.list("ann")

    assert [each.id for each in page.data] == [made[0].id, made[2].id, made[1].id]
    assert page.next_cursor is None


async def test_pages_show_each_conversation_once_though_others_come(store: Conversations) -> None:
    made = [await store.create("ann", messages=[said(f"Number {n}")]) for n in range(5)]
    first = await store.list("ann", limit=2)
    await store.create("ann", messages=[said("In between")])

    second = await store.list("ann", limit=2, cursor=first.next_cursor)
    third = await store.list("ann", limit=2, cursor=second.next_cursor)

    shown = [each.id for page in (first, second, third) for each in page.data]
    assert shown == [each.id for each in reversed(made)]
    assert third.next_cursor is None


async def test_conversations_of_the_same_moment_are_all_listed(store: Conversations) -> None:
    transcripts = [
        Transcript((said(f"Number {n}", created_at=LONG_AGO),), created_at=LONG_AGO)
        for n in range(5)
    ]
    imported = await store.bring_in("ann", transcripts)

    assert sorted(await _all_ids(store)) == sorted(each.id for each in imported.conversations)


@pytest.mark.parametrize("cursor", ["", "x", "WyJhIl0", "é", "W10", "bnVsbA", "A" * 5000])
async def test_a_foreign_cursor_is_refused(store: Conversations, cursor: str) -> None:
    made = await store.create("ann", messages=[said("One")])

    for asking in (
        store.list("ann", cursor=cursor),
        store.search("ann", "one", cursor=cursor),
        store.messages("ann", made.id, cursor=cursor),
    ):
        with pytest.raises(InvalidRequest, match="cursor"):
            await asking


async def test_messages_are_paged_in_both_orders(store: Conversations) -> None:
    made = await store.create("ann", messages=[said(str(n)) for n in range(5)])

    for newest_first, expected in ((False, "01234"), (True, "43210")):
        found, cursor = "", None
        while True:
            page = await store.messages(
                "ann", made.id, limit=2, cursor=cursor, newest_first=newest_first
            )
            found += "".join(each.content for each in page.data)
            cursor = page.next_cursor
            if cursor is None:
                break
        assert found == expected


async def test_what_another_user_keeps_is_not_found(store: Conversations) -> None:
    made = await store.create("ann", messages=[said("Secret plans")])
    (message,) = await store.history("ann", made.id)

    for asking in (
        store.get("bob", made.id),
        store.history("bob", made.id),
        store.messages("bob", made.id),
        store.add("bob", made.id, [said("Me too")]),
        store.rename("bob", made.id, "Mine"),
        store.branch("bob", made.id, message.id),
        store.delete("bob", made.id),
    ):
        with pytest.raises(NotFound, match=made.id):
            await asking
    assert (await store.list("bob")).data == ()
    assert (await store.search("bob", "secret")).data == ()
    assert (await store.get("ann", made.id)) == made


async def test_an_unknown_conversation_is_not_found(store: Conversations) -> None:
    with pytest.raises(NotFound, match=NOBODY):
        await store.get("ann", NOBODY)


async def test_what_is_deleted_is_gone_from_every_view(store: Conversations) -> None:
    made = await store.create("ann", title="Zebra stripes", messages=[said("Gnus as well")])
    kept = await store.create("ann", messages=[said("Gnus alone")])

    await store.delete("ann", made.id)

    with pytest.raises(NotFound):
        await store.get("ann", made.id)
    assert await _all_ids(store) == [kept.id]
    assert (await store.search("ann", "zebra")).data == ()
    assert [each.id for each in (await store.search("ann", "gnus")).data] == [kept.id]


async def test_a_message_with_the_same_id_is_stored_once(store: Conversations) -> None:
    made = await store.create("ann")
    message = said("Once", id=new_id())

    first = await store.add("ann", made.id, [message])
    again = await store.add("ann", made.id, [message])

    assert first == again
    assert (await store.get("ann", made.id)).message_count == 1


async def test_an_id_of_another_message_is_a_conflict_and_stores_nothing(
    store: Conversations,
) -> None:
    made, other = await store.create("ann"), await store.create("ann")
    taken = new_id()
    await store.add("ann", made.id, [said("Once", id=taken)])

    for conversation, text in ((made.id, "Twice"), (other.id, "Once")):
        with pytest.raises(Conflict, match=taken):
            await store.add("ann", conversation, [said("Before"), said(text, id=taken)])

    assert len(await store.history("ann", made.id)) == 1
    assert await store.history("ann", other.id) == []


async def test_a_branch_has_all_up_to_its_message_and_goes_its_own_way(
    store: Conversations,
) -> None:
    made = await store.create("ann", messages=[said("One"), said("Two", "assistant"), said("No")])
    history = await store.history("ann", made.id)

    branch = await store.branch("ann", made.id, history[1].id, title="Otherwise")
    await store.add("ann", branch.id, [said("Three")])

    assert (branch.branch_of, branch.branch_message) == (made.id, history[1].id)
    assert branch.title == "Otherwise"
    found = await store.history("ann", branch.id)
    assert [each.content for each in found] == ["One", "Two", "Three"]
    assert found[0].created_at == history[0].created_at
    assert [each.content for each in await store.history("ann", made.id)] == ["One", "Two", "No"]


async def test_a_branch_needs_a_message_of_its_conversation(store: Conversations) -> None:
    made = await store.create("ann", messages=[said("One")])
    other = await store.create("ann", messages=[said("Two")])
    (foreign,) = await store.history("ann", other.id)

    with pytest.raises(NotFound, match=foreign.id):
        await store.branch("ann", made.id, foreign.id)
    assert len((await store.list("ann")).data) == 2


async def test_an_import_keeps_times_and_is_done_once(store: Conversations) -> None:
    old = Transcript(
        (said("Long ago", created_at=LONG_AGO), said("Then", "assistant", model="x/y")),
        "History",
        origin="elsewhere:1",
    )
    new = Transcript((said("Today"),), origin="elsewhere:2")

    first = await store.bring_in("ann", [old])
    again = await store.bring_in("ann", [old, new])
    others = await store.bring_in("bob", [old])

    assert (len(first.conversations), first.skipped) == (1, 0)
    assert (len(again.conversations), again.skipped) == (1, 1)
    assert len(others.conversations) == 1
    (one, two) = await store.history("ann", first.conversations[0].id)
    assert one.created_at == LONG_AGO
    assert two.model == "x/y"
    assert first.conversations[0].title == "History"


async def test_an_import_that_fails_leaves_nothing(store: Conversations) -> None:
    taken = new_id()
    fine = Transcript((said("Fine"),))
    broken = Transcript((said("One", id=taken), said("Two", id=taken)))

    with pytest.raises(Conflict):
        await store.bring_in("ann", [fine, broken])

    assert (await store.list("ann")).data == ()


async def test_what_is_kept_in_the_background_is_there_soon(store: Conversations) -> None:
    made = await store.create("ann", messages=[said("One")])

    store.keep("ann", made.id, said("Half an ans", "assistant", incomplete=True))
    async with asyncio.timeout(10):
        while len(await store.history("ann", made.id)) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    assert (await store.history("ann", made.id))[1].incomplete


async def test_many_writers_at_once_lose_and_double_nothing(store: Conversations) -> None:
    made = [await store.create("ann") for _ in range(4)]

    await asyncio.gather(*(store.add("ann", made[n % 4].id, [said(str(n))]) for n in range(200)))

    found = [each.content for one in made for each in await store.history("ann", one.id)]
    assert sorted(found, key=int) == [str(n) for n in range(200)]
    assert [(await store.get("ann", one.id)).message_count for one in made] == [50] * 4
