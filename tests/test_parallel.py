"""Several things at once: none hurts another, and what came of each stands where it was asked."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.shared.errors import BackendTimeout
from portal.shared.parallel import execute_parallel

SECONDS = 10


async def test_results_stand_in_the_order_of_the_queries_not_of_their_ends() -> None:
    gates = [asyncio.Event() for _ in range(3)]
    ended: list[int] = []

    async def query(number: int) -> int:
        await gates[number].wait()
        ended.append(number)
        if number:
            gates[number - 1].set()
        return number

    gates[2].set()
    async with asyncio.timeout(SECONDS):
        assert await execute_parallel([query(number) for number in range(3)]) == [0, 1, 2]
    assert ended == [2, 1, 0]


async def test_all_run_at_once() -> None:
    barrier = asyncio.Barrier(20)

    async def query() -> None:
        await barrier.wait()

    async with asyncio.timeout(SECONDS):
        assert await execute_parallel([query() for _ in range(20)]) == [None] * 20


async def test_a_failure_is_a_value_and_cancels_no_other() -> None:
    failed = asyncio.Event()
    error = BackendTimeout("too slow")

    async def fail() -> str:
        failed.set()
        raise error

    async def go_on() -> str:
        await failed.wait()
        await asyncio.sleep(0)  # past the moment in which the failure is seen
        return "well"

    async with asyncio.timeout(SECONDS):
        found = await execute_parallel([go_on(), fail(), go_on()])
    assert found == ["well", error, "well"]


async def test_one_that_is_cancelled_alone_is_a_failure_of_its_own() -> None:
    async def cancelled() -> str:
        raise asyncio.CancelledError

    async def well() -> str:
        return "well"

    async with asyncio.timeout(SECONDS):
        found = await execute_parallel([cancelled(), well()])
    assert isinstance(found[0], RuntimeError)
    assert found[1] == "well"


async def test_a_cancelled_caller_cancels_all_and_waits_for_their_end() -> None:
    barrier = asyncio.Barrier(4)
    never = asyncio.Event()
    ended: list[int] = []

    async def query(number: int) -> None:
        try:
            await barrier.wait()
            await never.wait()
        finally:
            for _ in range(number):  # the connection of each takes its time to close
                await asyncio.sleep(0)
            ended.append(number)

    caller = asyncio.create_task(execute_parallel([query(number) for number in range(3)]))
    async with asyncio.timeout(SECONDS):
        await barrier.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
    assert sorted(ended) == [0, 1, 2]


async def test_a_query_that_ends_well_while_all_are_cancelled_keeps_nobody() -> None:
    started, never = asyncio.Event(), asyncio.Event()

    async def stubborn() -> str:
        started.set()
        try:
            await never.wait()
        except asyncio.CancelledError:
            return "done all the same"
        return ""

    caller = asyncio.create_task(execute_parallel([stubborn()]))
    async with asyncio.timeout(SECONDS):
        await started.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller


async def test_nothing_to_do_is_done() -> None:
    assert await execute_parallel([]) == []


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=12))
def test_each_outcome_belongs_to_its_query(plan: list[tuple[bool, int]]) -> None:
    async def query(number: int, *, fails: bool, turns: int) -> int:
        for _ in range(turns):
            await asyncio.sleep(0)
        if fails:
            raise ValueError(number)
        return number

    async def whole() -> list[int | Exception]:
        queries = [
            query(number, fails=fails, turns=turns) for number, (fails, turns) in enumerate(plan)
        ]
        return await execute_parallel(queries)

    found = asyncio.run(whole())
    shown = [each.args[0] if isinstance(each, ValueError) else each for each in found]
    assert shown == list(range(len(plan)))
    assert [isinstance(each, ValueError) for each in found] == [fails for fails, _ in plan]
