"""A run: scenario after scenario on one Portal, each judged, and Portal itself at the end."""

import asyncio
import re
import time
from collections.abc import Callable, Sequence

import msgspec
import psutil

from tests.chaos.driver import Plan, Played, Return, Scenario
from tests.chaos.faults import Fault
from tests.chaos.judging import compare, index, unnoticed
from tests.chaos.ledger import failures, shares, summary, unjust
from tests.chaos.stage import LIMITS, Stage
from tests.harness import TRACEBACK

DRAIN_SECONDS = 3 * LIMITS.total
"""Longest time in which Portal has to have let go of everything after the last answer."""
GROWTH_MIB = 24.0
"""Most memory that Portal may gain between the first scenario and the last."""
OPENED = re.compile(r"([\w.:-]+/[\w.:-]+) is left alone for")
IDLE_METRICS = ("portal_answers_running", "portal_requests_waiting")


class Row(msgspec.Struct):
    """What became of one scenario."""

    fault: str
    hurt: str
    requests: int
    answered: int
    workspaces_answered: int
    workspaces_asked: int
    failures: str
    """Counts by code."""
    slowest: float
    """Longest request, in seconds."""
    slowest_share: float
    """Largest share of its bound that a request took."""
    over: int
    """Requests that took longer than their bound."""
    left: int
    opened: tuple[str, ...]
    """Models whose breaker opened."""
    back: float
    """Seconds from the fault's end until the last hurt model answered."""
    refused: int
    """Most attempts that one model took until then."""
    health_p99: float
    faults: tuple[str, ...] = ()
    """What was wrong."""


class Result(msgspec.Struct):
    """A whole run."""

    clients: int
    rows: list[Row]
    memory_before: float
    memory_after: float
    """MiB of Portal's process, after the first scenario and after the last."""
    connections: int
    """That Portal held at the end."""
    faults: tuple[str, ...] = ()
    """What was wrong at the end."""

    @property
    def wrong(self) -> list[str]:
        """All that was wrong, in all scenarios."""
        return [*(f"{row.fault}: {each}" for row in self.rows for each in row.faults), *self.faults]


async def run(
    stage: Stage,
    faults: Sequence[Fault],
    plan: Plan,
    told: Callable[[Row], None] = lambda _: None,
) -> Result:
    """Play all of these, and tell of each as it ends."""
    process = psutil.Process(stage.portal.pid)
    rows: list[Row] = []
    number, before = 0, 0.0
    for fault in faults:
        row, number = await _scenario(stage, fault, plan, number)
        rows.append(row)
        told(row)
        before = before or _mebibytes(process)
    after = _mebibytes(process)
    wrong = await asyncio.to_thread(_at_the_end, stage)
    if after - before > GROWTH_MIB:
        wrong.append(f"Portal's memory grew from {before:.0f} to {after:.0f} MiB")
    return Result(plan.clients, rows, before, after, len(process.net_connections()), tuple(wrong))


async def _scenario(stage: Stage, fault: Fault, plan: Plan, first: int) -> tuple[Row, int]:
    await asyncio.to_thread(stage.calm)
    logged = len(stage.portal.logs())
    scenario = Scenario(stage, fault, plan, first)
    played = await scenario.play()
    wrong = await asyncio.to_thread(_drain, stage)
    recorded = await asyncio.to_thread(
        lambda: {name: fake.requests() for name, fake in stage.fakes.items()}
    )
    log = stage.portal.logs()[logged:]
    opened = tuple(sorted(set(OPENED.findall(log))))
    wrong += _unjust(scenario, played) + _unfair(fault, opened)
    records = index(recorded)
    for entry in played.entries:
        wrong += compare(entry, fault, records)
    wrong += unnoticed(played.entries, records)
    wrong += _late(played.returns)
    wrong += await asyncio.to_thread(_reloaded, stage)
    if TRACEBACK in log:
        at = log.index(TRACEBACK)
        wrong.append(f"a traceback was logged:\n{log[max(0, at - 400) : at + 3000]}")
    if played.health_failures:
        wrong.append(f"/health failed {played.health_failures} times")
    return _row(scenario, played, opened, wrong), scenario.next_number


def _unjust(scenario: Scenario, played: Played) -> list[str]:
    return [
        each
        for entry in played.entries
        for each in unjust(entry, played.fault, scenario.bound(entry.kind))
    ]


def _unfair(fault: Fault, opened: Sequence[str]) -> list[str]:
    """Name models that were left alone although nothing was wrong with them."""
    guilty = "hurt-" if fault.wide else ("hurt-ollama/hurt", "hurt-openai/hurt")
    return [
        f"{model} was left alone, and is innocent"
        for model in opened
        if fault.harmless or not model.startswith(guilty)
    ]


def _reloaded(stage: Stage) -> list[str]:
    """Name models that an Ollama had to load with more than one window."""
    found: dict[str, set[int]] = {}
    for name, fake in stage.fakes.items():
        if fake.module == "ollama":
            for model, window in fake.state()["order"]:
                found.setdefault(f"{name}/{model}", set()).add(window)
    return [
        f"{model} was asked for with windows of {sorted(windows)} tokens"
        for model, windows in found.items()
        if len(windows) > 1
    ]


def _late(returns: Sequence[Return]) -> list[str]:
    return [
        f"{each.model} came back {each.seconds:.1f} s after the fault's end; {LIMITS.back:.1f} s "
        "are allowed"
        for each in returns
        if each.seconds > LIMITS.back
    ]


def _row(scenario: Scenario, played: Played, opened: tuple[str, ...], wrong: list[str]) -> Row:
    entries = played.entries
    answered, asked = shares(entries)
    timed = [(entry.seconds, scenario.bound(entry.kind)) for entry in entries]
    health = sorted(played.health) or [0.0]
    return Row(
        played.fault.name,
        played.fault.hurt,
        len(entries),
        sum(each.fate == "answered" for each in entries),
        answered,
        asked,
        summary(failures(entries)),
        max(seconds for seconds, _ in timed),
        max(seconds / bound for seconds, bound in timed),
        sum(seconds > bound for seconds, bound in timed),
        sum(each.fate == "left" for each in entries),
        opened,
        max((each.seconds for each in played.returns), default=0.0),
        max((each.refused for each in played.returns), default=0),
        health[min(len(health) - 1, int(len(health) * 0.99))],
        tuple(wrong),
    )


def _drain(stage: Stage) -> list[str]:
    """Wait until Portal holds nothing any more: no place, no permit, no answer under way."""
    deadline = time.monotonic() + DRAIN_SECONDS
    held: list[str] = []
    while time.monotonic() < deadline:
        held = _held(stage)
        if not held:
            return []
        time.sleep(0.05)
    return [f"{each} after everything has ended" for each in held]


def _held(stage: Stage) -> list[str]:
    metrics = stage.ask("/metrics").splitlines()
    assert any(line.startswith(IDLE_METRICS) for line in metrics), "/metrics lacks the figures"
    held = [
        line for line in metrics if line.startswith(IDLE_METRICS) and float(line.split()[-1]) != 0
    ]
    return held + [
        f"{name} answers request {record.id}"
        for name, fake in stage.fakes.items()
        for record in fake.requests()
        if record.state == "open" and record.method == "POST"
    ]


def _at_the_end(stage: Stage) -> list[str]:
    """Look whether everything is as it was."""
    wrong = [] if stage.portal.alive else ["Portal has ended"]
    for backend in stage.ask("/portal/backends")["data"]:
        if backend["state"] != "live":
            wrong.append(f"{backend['name']} is {backend['state']} at the end")
        wrong += [
            f"the breaker of {backend['name']}/{each['model']} is {each['state']} at the end"
            for each in backend.get("breakers", ())
            if each["state"] != "closed"
        ]
    return wrong


def _mebibytes(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 2**20
