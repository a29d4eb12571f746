"""Limits, the wait for one's turn, and what those are told who may not wait."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from portal.runtime.admission.load import BackendLoad, Load, Ticket
from portal.runtime.admission.load_figures import BackendFigures
from portal.runtime.ops import schema
from portal.shared.errors import RateLimited
from tests.load_simulation import SimulatedOllama, load_of, simulate

Story = Callable[[], Coroutine[Any, Any, None]]


def in_simulated_time(story: Story) -> Callable[[], None]:
    """Run a test's story in simulated time."""

    def run() -> None:
        simulate(story())

    run.__name__ = story.__name__
    run.__doc__ = story.__doc__
    return run


async def settle() -> None:
    """Let everybody go on who can: no time passes."""
    for _ in range(5):
        await asyncio.sleep(0)


def entering(load: Load, *request: str, background: bool = False) -> "asyncio.Task[Ticket]":
    """Ask for a place in a task of its own; `request`: key, backend, model."""
    return asyncio.create_task(load.enter(*request, background=background))


async def refusal(asked: Awaitable[Ticket]) -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        await asked
    return caught.value


def hold(load: Load, *request: str) -> Ticket:
    """Take a place that must be free."""
    ticket = load.try_enter(*request)
    assert ticket is not None
    return ticket


@in_simulated_time
async def test_a_free_place_is_given_at_once() -> None:
    load = load_of()
    assert load.try_enter("ann", "gpu", "a") is not None
    assert (await load.enter("ann", "gpu", "a")) is not None
    assert load.running == 2


@in_simulated_time
async def test_the_limit_over_all_backends_holds_and_its_places_go_to_the_oldest() -> None:
    load = load_of(schema.Load(max_concurrency=2))
    first, second = hold(load, "ann", "gpu", "a"), hold(load, "ann", "cpu", "b")
    assert load.try_enter("bob", "third", "c") is None
    older, newer = entering(load, "bob", "third", "c"), entering(load, "bob", "gpu", "a")
    await settle()
    first.leave()
    await settle()
    assert older.done()
    assert not newer.done(), "the place that gpu gave up went to its own line, not to the oldest"
    second.leave()
    await settle()
    assert newer.done()
    assert load.running == 2


@in_simulated_time
async def test_one_busy_backend_keeps_nobody_from_another() -> None:
    load = load_of(gpu=BackendLoad(max_concurrency=1))
    hold(load, "ann", "gpu", "a")
    waiting = entering(load, "ann", "gpu", "a")
    await settle()
    assert load.try_enter("bob", "cpu", "b") is not None
    assert not waiting.done()
    waiting.cancel()


@in_simulated_time
async def test_nobody_overtakes_a_line() -> None:
    load = load_of(gpu=BackendLoad(max_concurrency=2))
    held = hold(load, "ann", "gpu", "a")
    hold(load, "ann", "gpu", "a")
    line = [entering(load, "ann", "gpu", model) for model in "bcd"]
    await settle()
    held.leave()
    assert load.try_enter("bob", "gpu", "a") is None, "the place was promised to the first in line"
    for expected in range(1, 4):
        await settle()
        assert [task.done() for task in line] == [index < expected for index in range(3)]
        line[expected - 1].result().leave()


@in_simulated_time
async def test_a_key_over_its_limit_is_refused_at_once_and_others_are_not() -> None:
    load = load_of(schema.Load(key_concurrency=2), gpu=BackendLoad(max_concurrency=1))
    held = hold(load, "ann", "gpu", "a")
    waiting = entering(load, "ann", "gpu", "a")
    await settle()
    assert load.try_enter("ann", "cpu", "b") is None
    error = await refusal(load.enter("ann", "cpu", "b"))
    assert "2 requests under way or waiting" in error.message
    assert "load.key_concurrency = 2" in error.message
    assert load.try_enter("bob", "cpu", "b") is not None
    held.leave()
    (await waiting).leave()
    assert load.try_enter("ann", "cpu", "b") is not None
    assert load.figures().rejected["key_concurrency"] == 1


@in_simulated_time
async def test_a_full_queue_says_what_keeps_it_full_and_when_to_come_back() -> None:
    load = load_of(schema.Load(queue=2), gpu=BackendLoad(max_concurrency=1))
    with hold(load, "ann", "gpu", "a"):
        await asyncio.sleep(7)
    hold(load, "ann", "gpu", "a")
    line = [entering(load, "ann", "gpu", "a") for _ in range(2)]
    await settle()
    error = await refusal(load.enter("bob", "gpu", "a"))
    assert "load.queue = 2" in error.message
    assert "the backend 'gpu' is writing 1 answers (its max_concurrency = 1)" in error.message
    assert error.retry_after == 21, "two answers of 7 s before its own"
    assert "Try again in 21 s" in error.message
    assert load.figures().rejected["queue"] == 1
    for task in line:
        task.cancel()


@in_simulated_time
async def test_what_is_answered_side_by_side_shortens_the_wait_that_is_told() -> None:
    load = load_of(schema.Load(queue=4), gpu=BackendLoad(max_concurrency=2))
    with hold(load, "ann", "gpu", "a"):
        await asyncio.sleep(7)
    hold(load, "ann", "gpu", "a"), hold(load, "ann", "gpu", "a")
    line = [entering(load, "ann", "gpu", "a") for _ in range(4)]
    await settle()
    error = await refusal(load.enter("bob", "gpu", "a"))
    assert error.retry_after == 18, "five answers of 7 s, two at once"
    for task in line:
        task.cancel()


@in_simulated_time
async def test_a_full_queue_refuses_nobody_for_whom_there_is_a_place() -> None:
    load = load_of(schema.Load(queue=0), gpu=BackendLoad(max_concurrency=1))
    hold(load, "ann", "gpu", "a")
    await refusal(load.enter("ann", "gpu", "a"))
    assert (await load.enter("ann", "cpu", "a")) is not None
    assert load.in_line == 0


@in_simulated_time
async def test_who_waited_too_long_is_told_so_and_leaves_the_line() -> None:
    load = load_of(schema.Load(max_concurrency=1, queue_seconds=30))
    held = hold(load, "ann", "gpu", "a")
    started = asyncio.get_running_loop().time()
    error = await refusal(load.enter("bob", "gpu", "b"))
    assert asyncio.get_running_loop().time() - started == pytest.approx(30)
    assert "load.queue_seconds = 30" in error.message
    assert "load.max_concurrency = 1" in error.message
    assert error.retry_after == 10, "nothing has ended yet, so a guess"
    assert load.figures().rejected["queue_seconds"] == 1
    held.leave()
    assert load.try_enter("bob", "gpu", "b") is not None


@in_simulated_time
async def test_retry_after_follows_the_answers_of_late_and_has_bounds() -> None:
    load = load_of(schema.Load(queue=0), gpu=BackendLoad(max_concurrency=1))

    async def told_after_answers_of(seconds: float) -> float:
        for _ in range(40):
            with hold(load, "ann", "gpu", "a"):
                await asyncio.sleep(seconds)
        with hold(load, "ann", "gpu", "a"):
            return (await refusal(load.enter("ann", "gpu", "a"))).retry_after

    assert await told_after_answers_of(0.01) == 1
    assert await told_after_answers_of(20.5) == 21
    assert await told_after_answers_of(2000) == 300


@in_simulated_time
async def test_leaving_twice_frees_one_place() -> None:
    load = load_of(gpu=BackendLoad(max_concurrency=2))
    held = hold(load, "ann", "gpu", "a")
    hold(load, "ann", "gpu", "a")
    held.leave()
    held.leave()
    assert load.running == 1
    hold(load, "ann", "gpu", "a")
    assert load.try_enter("ann", "gpu", "a") is None


@in_simulated_time
async def test_a_client_that_leaves_the_line_is_passed_over() -> None:
    load = load_of(gpu=BackendLoad(max_concurrency=1))
    held = hold(load, "ann", "gpu", "a")
    gone, next_one = entering(load, "ann", "gpu", "a"), entering(load, "bob", "gpu", "a")
    await settle()
    gone.cancel()
    held.leave()  # in the same moment: the task of the one that left has not run yet
    await settle()
    assert gone.cancelled()
    assert next_one.done()
    assert (load.running, load.in_line) == (1, 0)


@in_simulated_time
async def test_a_place_given_to_a_client_that_leaves_in_that_moment_is_passed_on() -> None:
    load = load_of(gpu=BackendLoad(max_concurrency=1))
    held = hold(load, "ann", "gpu", "a")
    gone, next_one = entering(load, "ann", "gpu", "a"), entering(load, "bob", "gpu", "a")
    await settle()
    held.leave()
    gone.cancel()
    await settle()
    assert gone.cancelled()
    assert next_one.done()
    next_one.result().leave()
    assert (load.running, load.in_line) == (0, 0)
    assert hold(load, "ann", "gpu", "a")


@in_simulated_time
async def test_background_work_takes_half_of_the_places_and_none_that_a_person_waits_for() -> None:
    load = load_of(gpu=BackendLoad(max_concurrency=4))
    work = [entering(load, "jobs", "gpu", "a", background=True) for _ in range(4)]
    await settle()
    assert sum(task.done() for task in work) == 2
    hold(load, "ann", "gpu", "a"), hold(load, "ann", "gpu", "a")
    person = entering(load, "ann", "gpu", "a")
    await settle()
    work[0].result().leave()
    await settle()
    assert person.done(), "background work that had waited longer went first"
    assert sum(task.done() for task in work) == 2
    work[1].result().leave()
    await settle()
    assert sum(task.done() for task in work) == 3
    work[3].cancel()


@in_simulated_time
async def test_background_work_over_all_backends_leaves_half_of_the_places_to_people() -> None:
    load = load_of(schema.Load(max_concurrency=4))
    work = [entering(load, "jobs", f"backend{n}", "a", background=True) for n in range(4)]
    await settle()
    assert [task.done() for task in work] == [True, True, False, False]
    work[0].result().leave()
    await settle()
    assert work[2].done(), "its place stayed empty, as it was another backend's"
    work[3].cancel()


@in_simulated_time
async def test_a_place_that_all_share_goes_to_people_of_any_backend_first() -> None:
    load = load_of(schema.Load(max_concurrency=2))
    held = hold(load, "ann", "gpu", "a")
    hold(load, "ann", "gpu", "a")
    work = entering(load, "jobs", "cpu", "b", background=True)
    person = entering(load, "ann", "gpu", "a")
    await settle()
    held.leave()
    assert (await person) is not None
    assert not work.done()
    work.cancel()


@in_simulated_time
async def test_when_a_person_leaves_the_line_who_waited_behind_may_go() -> None:
    load = load_of(gpu=BackendLoad(max_concurrency=4, max_loaded=1))
    hold(load, "ann", "gpu", "a")
    person = entering(load, "ann", "gpu", "b")
    await settle()
    work = entering(load, "jobs", "gpu", "a", background=True)
    await settle()
    assert not work.done()
    person.cancel()
    await settle()
    assert work.done()


@in_simulated_time
async def test_models_seen_loaded_together_wait_for_each_other_no_longer() -> None:
    load = load_of()
    for model in "ab":
        hold(load, "ann", "gpu", model).leave()
        load.observe("gpu", frozenset(model))
        await asyncio.sleep(1)
    hold(load, "ann", "gpu", "a")
    waiting = entering(load, "ann", "gpu", "b")
    await settle()
    assert not waiting.done()
    load.observe("gpu", frozenset("ab"))
    await settle()
    assert waiting.done()


@in_simulated_time
async def test_a_person_takes_the_place_in_the_queue_of_the_latest_background_work() -> None:
    load = load_of(schema.Load(queue=2), gpu=BackendLoad(max_concurrency=1))
    held = hold(load, "ann", "gpu", "a")
    older = entering(load, "jobs", "gpu", "a", background=True)
    latest = entering(load, "jobs", "gpu", "a", background=True)
    await settle()
    person = entering(load, "ann", "gpu", "a")
    error = await refusal(latest)
    assert "load.queue = 2" in error.message
    held.leave()
    (await person).leave()
    (await older).leave()


@in_simulated_time
async def test_figures_say_what_goes_on() -> None:
    load = load_of(gpu=BackendLoad(max_concurrency=2, max_loaded=1))
    held = hold(load, "ann", "gpu", "a")
    hold(load, "ann", "gpu", "a")
    waiting = [entering(load, "ann", "gpu", model) for model in "bbc"]
    await settle()
    assert load.waiting("gpu", "b") == 2
    assert load.waiting("gpu", "a") == load.waiting("elsewhere", "b") == 0
    figures = load.figures()
    assert (figures.running, figures.waiting) == (2, 3)
    assert figures.backends["gpu"] == BackendFigures(2, 3, swaps=0, swaps_avoided=2)
    held.leave()
    for task in waiting:
        task.cancel()


async def _alternate(load: Load, ollama: SimulatedOllama, requests: int, models: str) -> None:
    """Ask for the models in turn, a request every second, each answered in three."""

    async def ask(model: str) -> None:
        with load.try_enter("ann", "gpu", model) or await load.enter("ann", "gpu", model):
            await ollama.answer(model, 3)

    async def watch() -> None:
        while True:
            load.observe("gpu", ollama.loaded)
            await asyncio.sleep(10)

    async with asyncio.TaskGroup() as group:
        watcher = asyncio.create_task(watch())
        asked = []
        for number in range(requests):
            asked.append(group.create_task(ask(models[number % len(models)])))
            await asyncio.sleep(1)
        await asyncio.gather(*asked)
        watcher.cancel()


PATIENT = schema.Load(key_concurrency=256, batch=8, batch_seconds=3600, queue_seconds=3600)


def collated(requests: int, max_loaded: int) -> tuple[int, BackendFigures]:
    """Alternate between two models where one fits: the loads that it took, and the figures."""

    async def story() -> tuple[int, BackendFigures]:
        ollama = SimulatedOllama(room=1)
        load = load_of(PATIENT, gpu=BackendLoad(max_concurrency=8, max_loaded=max_loaded))
        await _alternate(load, ollama, requests, "ab")
        return ollama.loads, load.figures().backends["gpu"]

    return simulate(story())


def test_alternating_models_are_collated_where_the_settings_say_that_one_fits() -> None:
    loads, figures = collated(160, max_loaded=1)
    assert loads == 160 // 8
    assert (figures.running, figures.waiting) == (0, 0)
    assert (figures.swaps, figures.swaps + figures.swaps_avoided) == (loads - 1, 159)


def test_alternating_models_are_collated_once_an_eviction_was_seen() -> None:
    loads, figures = collated(160, max_loaded=0)
    # What had been sent before two looks showed an eviction was not in Portal's hands any more.
    assert loads <= 160 // 8 + 15
    assert (figures.running, figures.waiting) == (0, 0)
    assert figures.swaps < 160 // 8 < figures.swaps_avoided


def test_without_collation_each_request_would_be_a_load() -> None:
    """The simulated Ollama is one that the test above means something on."""

    async def story() -> int:
        ollama = SimulatedOllama(room=1)
        for number in range(20):
            await ollama.answer("ab"[number % 2], 3)
        return ollama.loads

    assert simulate(story()) == 20


def test_models_that_fit_together_are_served_in_the_order_of_arrival() -> None:
    async def story() -> SimulatedOllama:
        ollama = SimulatedOllama(room=2)
        load = load_of(PATIENT, gpu=BackendLoad(max_concurrency=2))
        await _alternate(load, ollama, 100, "ab")
        return ollama

    ollama = simulate(story())
    assert "".join(ollama.order) == "ab" * 50
    assert ollama.loads == 2


def test_of_three_models_where_two_fit_a_third_is_no_reason_to_swap_each_time() -> None:
    async def story() -> int:
        ollama = SimulatedOllama(room=2)
        load = load_of(PATIENT, gpu=BackendLoad(max_concurrency=8, max_loaded=2))
        await _alternate(load, ollama, 150, "abc")
        return ollama.loads

    assert simulate(story()) <= 2 * 150 // 8
