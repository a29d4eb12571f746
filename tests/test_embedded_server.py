"""The supervised child of the embedded model, scripted: start, leases, idling, end."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvloop

from portal.runtime.backends import embedded_process
from portal.shared.errors import BackendUnreachable
from tests.fakes.embedded_stage import Stage, ended, idling, staged, until


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as stage:
        yield stage


async def test_it_stands_by_until_the_first_lease_and_is_live_then(stage: Stage) -> None:
    server = stage.server()
    assert (server.state, server.problem, server.pid) == ("standby", "", None)
    lease = await server.lease()
    assert (server.state, server.problem) == ("live", "")
    assert [server.pid] == stage.pids
    configuration = stage.runs[0]["configuration"]
    assert lease.url == f"http://127.0.0.1:{configuration['port']}"
    assert lease.api_key == configuration["api_key"]
    assert configuration["model_path"] == str(stage.model)
    lease.release()
    await server.aclose()
    assert server.pid is None


async def test_the_key_is_long_new_each_time_and_on_no_command_line(stage: Stage) -> None:
    server = stage.server()
    lease = await server.lease()
    shown = psutil.Process(server.pid).cmdline()
    await server.aclose()
    again = stage.server()
    second = await again.lease()
    await again.aclose()
    assert len(lease.api_key) >= 32
    assert lease.api_key != second.api_key
    assert not any(lease.api_key in part for part in shown)


async def test_ports_lie_below_the_ephemeral_range(stage: Stage) -> None:
    server = stage.server()
    await server.lease()
    await server.aclose()
    assert 1024 < stage.runs[0]["configuration"]["port"] < 32768


async def test_secrets_of_the_environment_do_not_reach_the_child(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PORTAL_AUTH__API_KEY", "ROUTER_TOKEN", "some_password"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    server = stage.server()
    await server.lease()
    await server.aclose()
    passed_on = set(stage.runs[0]["environment"])
    assert "OMP_WAIT_POLICY" in passed_on
    assert not passed_on & {"PORTAL_AUTH__API_KEY", "ROUTER_TOKEN", "some_password"}


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (8, 7)])
async def test_by_default_one_core_is_left_free_while_writing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, cores: int, threads: int
) -> None:
    monkeypatch.setattr(embedded_process, "usable_cores", lambda: cores)
    server = stage.server(context_window=1024)
    await server.lease()
    await server.aclose()
    configuration = stage.runs[0]["configuration"]
    assert configuration["threads"] == threads
    assert configuration["batch_threads"] == cores
    assert configuration["context_window"] == 1024


async def test_configured_threads_are_used(stage: Stage) -> None:
    server = stage.server(threads=3)
    await server.lease()
    await server.aclose()
    assert stage.runs[0]["configuration"]["threads"] == 3


async def test_start_warms_it_up_in_the_background(stage: Stage) -> None:
    server = stage.server()
    server.start()
    server.start()
    assert server.state == "starting"
    await until(lambda: server.state == "live")
    assert len(stage.runs) == 1
    await server.aclose()


async def test_callers_at_the_same_time_share_one_start(stage: Stage) -> None:
    server = stage.server("held")
    callers = [asyncio.create_task(server.lease()) for _ in range(20)]
    await until(lambda: bool(stage.runs))
    assert server.state == "starting"
    stage.let_go()
    leases = await asyncio.gather(*callers)
    assert len({lease.url for lease in leases}) == 1
    assert len(stage.runs) == 1
    await server.aclose()


async def test_a_cancelled_caller_does_not_abort_the_start_for_others(stage: Stage) -> None:
    server = stage.server("held")
    first = asyncio.create_task(server.lease())
    other = asyncio.create_task(server.lease())
    await until(lambda: bool(stage.runs))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    stage.let_go()
    await other
    assert len(stage.runs) == 1
    await server.aclose()


async def test_a_start_that_everybody_left_still_ends_well(stage: Stage) -> None:
    server = stage.server("held", idle_seconds=0.01)
    only = asyncio.create_task(server.lease())
    await until(lambda: bool(stage.runs))
    only.cancel()
    await asyncio.wait((only,))
    stage.let_go()
    await until(lambda: server.state == "standby")
    await until(lambda: ended(stage.pids[0]))
    await server.aclose()


async def test_unused_it_is_unloaded_and_comes_back(stage: Stage) -> None:
    server = stage.server(idle_seconds=0.02)
    lease = await server.lease()
    lease.release()
    await until(lambda: server.state == "standby")
    await until(lambda: ended(stage.pids[0]))
    again = await server.lease()
    assert again.api_key != lease.api_key
    assert server.problem == ""
    await server.aclose()


async def test_it_is_not_unloaded_while_one_of_its_leases_is_out(stage: Stage) -> None:
    server = stage.server(idle_seconds=0.02)
    kept, given_back = await server.lease(), await server.lease()
    given_back.release()
    given_back.release()
    assert not idling(server)
    kept.release()
    assert idling(server)
    await until(lambda: server.state == "standby")
    await server.aclose()


async def test_closing_ends_a_start_under_way(stage: Stage) -> None:
    server = stage.server("held")
    caller = asyncio.create_task(server.lease())
    await until(lambda: bool(stage.runs))
    await server.aclose()
    with pytest.raises(BackendUnreachable, match="stopping"):
        await caller
    assert not server.available


@pytest.mark.parametrize("yields", range(12))
async def test_closing_at_any_moment_of_a_start_leaves_nothing(stage: Stage, yields: int) -> None:
    server = stage.server()
    server.start()
    for _ in range(yields):
        await asyncio.sleep(0)
    await server.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_twice_at_once_is_fine_and_nothing_starts_after_it(stage: Stage) -> None:
    server = stage.server()
    await server.lease()
    await asyncio.gather(server.aclose(), server.aclose())
    await server.aclose()
    server.start()
    with pytest.raises(BackendUnreachable, match="stopping"):
        await server.lease()
    assert len(stage.runs) == 1


async def test_switched_off_it_is_absent(stage: Stage) -> None:
    server = stage.server(enabled=False)
    assert server.state == "absent"
    with pytest.raises(BackendUnreachable, match=r"embedded\.enabled"):
        await server.lease()
    await server.aclose()
    assert stage.runs == []


async def test_facts_tell_the_window_as_it_is_served(stage: Stage) -> None:
    server = stage.server(context_window=700)
    before = server.facts
    await server.lease()
    assert before is not None
    assert (before.name, before.context_window) == ("tiny", 700)
    assert server.facts == before
    assert server.size_bytes == 4
    await server.aclose()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_whole_life_on_each_event_loop(
    stage: Stage, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    async def live() -> None:
        server = stage.server("ready", "die", "ready", idle_seconds=0.05)
        (await server.lease()).release()
        await until(lambda: server.state == "standby")
        with pytest.raises(BackendUnreachable):
            await server.lease()
        await server.lease()
        os.kill(stage.pids[-1], signal.SIGKILL)
        await until(lambda: len(stage.runs) == 4 and server.state == "live")
        await server.aclose()

    run(live())
