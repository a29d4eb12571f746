"""What holds of the load whatever comes: limits, order, bounds on waiting, nobody lost."""

import asyncio
import heapq
import itertools
from collections import Counter
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from portal.runtime.admission.lane import Waiting
from portal.runtime.admission.load import BackendLoad, Load, Ticket
from portal.runtime.ops import schema
from portal.shared.errors import RateLimited
from tests.load_simulation import Desk, load_of, simulate

KEYS = ("ann", "bob")
BACKENDS = ("gpu", "small", "unknown")
MODELS = ("a", "b", "c")
SETTINGS = schema.Load(
    max_concurrency=5, key_concurrency=7, queue=4, queue_seconds=20, batch=2, batch_seconds=8
)
LIMITS = {"gpu": BackendLoad(3, 0), "small": BackendLoad(2, 1)}

Request = tuple[str, str, str]
requests = st.tuples(st.sampled_from(KEYS), st.sampled_from(BACKENDS), st.sampled_from(MODELS))
steps = st.one_of(
    st.tuples(st.just("try"), requests),
    st.tuples(st.just("person"), requests),
    st.tuples(st.just("background"), requests),
    st.tuples(st.just("leave"), st.integers(0, 9)),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    # A place is given and its client leaves, in this order or the other, before any task runs.
    st.tuples(st.just("leave and cancel"), st.integers(0, 9)),
    st.tuples(st.just("cancel and leave"), st.integers(0, 9)),
    st.tuples(st.just("observe"), st.sampled_from(BACKENDS), st.sets(st.sampled_from(MODELS))),
    st.tuples(st.just("wait"), st.sampled_from((0.5, 3.0, 10.0))),
)


class Crowd:
    """Clients of a Load, who keep books of their own."""

    def __init__(self) -> None:
        self.load = load_of(SETTINGS, **LIMITS)
        self.held: list[tuple[Ticket, Request]] = []
        self.asking: dict[asyncio.Task[Ticket], Request] = {}
        self.entered = self.refused = self.cancelled = self.asked = 0

    def ask(self, request: Request, *, background: bool) -> None:
        task = asyncio.create_task(self.load.enter(*request, background=background))
        self.asking[task] = request
        self.asked += 1

    def leave(self, index: int) -> None:
        if self.held:
            self.held.pop(index % len(self.held))[0].leave()

    def cancel(self, index: int) -> None:
        if self.asking:
            list(self.asking)[index % len(self.asking)].cancel()

    async def do(self, step: tuple[Any, ...]) -> None:
        match step:
            case "try", request:
                ticket = self.load.try_enter(*request)
                if ticket is not None:
                    self.held.append((ticket, request))
            case ("person" | "background") as kind, request:
                self.ask(request, background=kind == "background")
            case "observe", backend, loaded:
                self.load.observe(backend, frozenset(loaded))
            case "wait", seconds:
                await asyncio.sleep(seconds)
            case str(what), index:
                for verb in what.split(" and "):
                    self.leave(index) if verb == "leave" else self.cancel(index)
        await self.settle()

    async def learn(self) -> None:
        """Have the load see that two models displace each other on gpu."""
        for model in "ab":
            ticket = self.load.try_enter("ann", "gpu", model)
            assert ticket is not None
            ticket.leave()
            await asyncio.sleep(1)
            self.load.observe("gpu", frozenset(model))
        assert self.load._lines["gpu"].collating

    async def settle(self) -> None:
        """Let every task run, and enter in the books how those that ended did."""
        for _ in range(4):
            await asyncio.sleep(0)
        for task in [task for task in self.asking if task.done()]:
            request = self.asking.pop(task)
            if task.cancelled():
                self.cancelled += 1
            elif isinstance(error := task.exception(), RateLimited):
                assert 1 <= error.retry_after <= 300
                assert error.retry_after == int(error.retry_after)
                self.refused += 1
            else:
                self.held.append((task.result(), request))
                self.entered += 1

    def inspect(self) -> None:
        """Compare the Load with the books, and both with the limits."""
        load = self.load
        held = [request for _, request in self.held]
        assert load.running == len(held) <= SETTINGS.max_concurrency
        assert load.in_line == len(self.asking) <= SETTINGS.queue
        at_backend = Counter(backend for _, backend, _ in held)
        assert at_backend["gpu"] <= 3
        assert at_backend["small"] <= 2
        assert len({model for _, backend, model in held if backend == "small"}) <= 1
        of_key = Counter(key for key, _, _ in [*held, *self.asking.values()])
        assert all(count <= SETTINGS.key_concurrency for count in of_key.values())
        assert load._keys == dict(of_key)
        for name, line in load._lines.items():
            assert line.running == at_backend[name]
            now = load.clock()
            blocked = load.running >= load._most or load._background_running >= load._share
            assert blocked or line.next(now) is None, "somebody waits who may go"


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, max_size=60), st.booleans())
@example([("person", ("ann", "small", m)) for m in "aab"] + [("leave and cancel", 0)] * 3, False)
def test_no_limit_is_crossed_and_nobody_is_lost(
    story: list[tuple[Any, ...]], collating: bool
) -> None:
    async def run() -> None:
        crowd = Crowd()
        if collating:
            await crowd.learn()
        for step in story:
            await crowd.do(step)
            crowd.inspect()
        while crowd.held:
            crowd.leave(0)
            await crowd.settle()
            crowd.inspect()
        assert not crowd.asking, "somebody waits although nobody runs"
        assert crowd.entered + crowd.refused + crowd.cancelled == crowd.asked
        assert (crowd.load.running, crowd.load.in_line, crowd.load._keys) == (0, 0, {})

    simulate(run())


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from(MODELS), st.integers(0, 9)), max_size=60),
    st.integers(1, 4),
)
def test_without_displacement_a_backend_is_served_in_the_order_of_arrival(
    story: list[str | int], limit: int
) -> None:
    async def run() -> None:
        load: Load = load_of(schema.Load(), gpu=BackendLoad(limit))
        tickets: list[Ticket] = []
        served: list[int] = []

        async def ask(number: int, model: str) -> None:
            ticket = load.try_enter("ann", "gpu", model) or await load.enter("ann", "gpu", model)
            served.append(number)
            tickets.append(ticket)

        asked = itertools.count()
        async with asyncio.TaskGroup() as group:
            for step in story:
                if isinstance(step, str):
                    group.create_task(ask(next(asked), step))
                elif tickets:
                    tickets.pop(step % len(tickets)).leave()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            while load.in_line:
                tickets.pop().leave()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
        assert served == list(range(next(asked)))

    simulate(run())


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from(MODELS), st.integers(0, 9)), max_size=120),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 2),
)
def test_a_request_waits_for_at_most_a_batch_of_each_model_that_displaces_its_own(
    story: list[str | int], limit: int, batch: int, room: int
) -> None:
    desk = Desk(limit=limit, room=room, batch=batch, batch_seconds=float("inf"))
    waiting: dict[Waiting, int] = {}
    before: dict[Waiting, int] = {}
    granted: list[Waiting] = []

    def admit() -> None:
        while (waiter := desk.line.next(desk.now)) is not None:
            desk.grant(waiter)
            turns = waiting.pop(waiter) // batch + 1
            meanwhile = granted[before.pop(waiter) :]
            others = [each for each in meanwhile if each.lane is not waiter.lane]
            # Where two models fit, those that came before may all go before, as in any line.
            overtook = [each for each in others if room == 1 or each.number > waiter.number]
            assert len(overtook) <= turns * batch * (len(MODELS) - 1)
            granted.append(waiter)

    for step in story:
        if isinstance(step, str):
            ahead = desk.line.waiting_for(step)
            waiter = desk.ask(step)[0]
            waiting[waiter] = ahead
            before[waiter] = len(granted)
        elif desk.running:
            desk.finish(desk.running[step % len(desk.running)][0].model)
        admit()
    while desk.running:
        desk.finish(desk.running[0][0].model)
        admit()
    assert not waiting


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 20), st.sampled_from(MODELS), st.floats(0.1, 10)), max_size=80)
)
def test_a_request_waits_no_longer_than_the_turns_of_the_others_last(
    arrivals: list[tuple[float, str, float]],
) -> None:
    turn, answer = 30, 10
    desk = Desk(room=1, batch=10**6, batch_seconds=turn)
    lasts: dict[Waiting, float] = {}
    ends: list[tuple[float, int, str]] = []

    def admit() -> None:
        while (waiter := desk.line.next(desk.now)) is not None:
            desk.grant(waiter)
            longest = (len(MODELS) - 1) * (turn + answer)
            assert desk.now - waiter.since <= longest + 1e-6
            heapq.heappush(ends, (desk.now + lasts.pop(waiter), waiter.number, waiter.lane.model))

    def pass_time(until: float) -> None:
        while ends and ends[0][0] <= until:
            desk.now, _, model = heapq.heappop(ends)
            desk.finish(model)
            admit()
        desk.now = until

    for gap, model, seconds in arrivals:
        pass_time(desk.now + gap)
        lasts[desk.ask(model)[0]] = seconds
        admit()
    pass_time(float("inf"))
    assert not lasts
