"""The supervised child of the embedded model, scripted: crashes, refusals, last words."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from portal.runtime.backends import embedded_process
from portal.runtime.backends.embedded_child import LOG_LIMIT, cut_log
from portal.runtime.backends.embedded_server import EmbeddedServer, Pace
from portal.runtime.ops.schema import Embedded
from portal.shared.errors import BackendUnreachable
from tests.fakes.embedded_stage import PATIENCE, SCRIPT, Stage, ended, idling, staged, until

SLOW_TO_RETRY = Pace(first_wait=600.0, longest_wait=600.0, tries=0, grace=0.2)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as stage:
        yield stage


async def test_a_late_release_does_not_count_against_the_next_child(stage: Stage) -> None:
    server = stage.server()
    late = await server.lease()
    os.kill(stage.pids[0], signal.SIGKILL)
    await until(lambda: len(stage.runs) == 2 and server.state == "live")
    await server.lease()
    late.release()
    assert not idling(server)
    await server.aclose()


async def test_a_crash_restarts_it_without_being_asked(stage: Stage) -> None:
    server = stage.server()
    await server.lease()
    os.kill(stage.pids[0], signal.SIGKILL)
    await until(lambda: len(stage.runs) == 2 and server.state == "live")
    assert server.pid == stage.pids[1]
    assert server.problem == ""
    await server.aclose()


async def test_a_lease_right_after_a_crash_gets_the_new_child(stage: Stage) -> None:
    server = stage.server()
    old = await server.lease()
    os.kill(stage.pids[0], signal.SIGSEGV)
    await until(lambda: server.state != "live")
    assert (server.pid, server.state) == (None, "starting")
    new = await server.lease()
    assert new.api_key != old.api_key
    await server.aclose()


async def test_too_many_crashes_in_a_row_leave_it_dead_with_the_reason(stage: Stage) -> None:
    pace = Pace(first_wait=0.01, longest_wait=600.0, tries=2, grace=0.2)
    server = stage.server("ready", "die", pace=pace)
    await server.lease()
    os.kill(stage.pids[0], signal.SIGKILL)
    await until(lambda: server.state == "dead")
    assert len(stage.runs) == 3
    assert "status 1" in server.problem
    assert "the last words" in server.problem
    await server.aclose()


async def test_dead_it_refuses_until_its_wait_is_over(stage: Stage) -> None:
    server = stage.server("die", "ready", pace=SLOW_TO_RETRY)
    for _ in range(2):
        with pytest.raises(BackendUnreachable, match="the last words"):
            await server.lease()
    assert len(stage.runs) == 1
    assert (server.state, server.available) == ("dead", False)
    server._next_try = 0.0
    assert server.available
    await server.lease()
    assert (server.state, server.available) == ("live", True)
    await server.aclose()


async def test_a_lease_tries_again_after_a_failed_start(stage: Stage) -> None:
    server = stage.server("die", "ready")
    with pytest.raises(BackendUnreachable, match="the last words"):
        await server.lease()
    await server.lease()
    assert server.state == "live"
    await server.aclose()


async def test_waits_double_up_to_their_ceiling(stage: Stage) -> None:
    pace = Pace(first_wait=100.0, longest_wait=350.0, tries=9, grace=0.2)
    server = stage.server("die", pace=pace)
    waits = []
    for _ in range(4):
        server._next_try = 0.0
        with pytest.raises(BackendUnreachable):
            await server.lease()
        waits.append(round(server._wait(), -1))
    assert waits == [100, 200, 350, 350]
    await server.aclose()


async def test_a_child_that_had_settled_begins_a_new_row(stage: Stage) -> None:
    pace = Pace(first_wait=0.01, longest_wait=0.05, tries=1, settled=0.0, grace=0.2)
    server = stage.server(pace=pace)
    await server.lease()

    def came_back(runs: int) -> Callable[[], bool]:
        return lambda: len(stage.runs) == runs and server.state == "live"

    for crash in range(3):
        os.kill(stage.pids[crash], signal.SIGKILL)
        await until(came_back(crash + 2))
    await server.aclose()


async def test_a_taken_port_is_answered_with_another(stage: Stage) -> None:
    server = stage.server("taken", "taken", "ready")
    await server.lease()
    assert len({run["configuration"]["port"] for run in stage.runs}) == 3
    assert len({run["configuration"]["api_key"] for run in stage.runs}) == 3
    await server.aclose()


async def test_ports_are_not_tried_for_ever(stage: Stage) -> None:
    server = stage.server("taken")
    with pytest.raises(BackendUnreachable, match="cannot listen"):
        await server.lease()
    assert len(stage.runs) == embedded_process.PORT_ATTEMPTS
    await server.aclose()


@pytest.mark.parametrize(
    ("behaviour", "reason"), [("refuse", "no such tensor"), ("babble", "one JSON line")]
)
async def test_a_child_that_cannot_start_says_why(
    stage: Stage, behaviour: str, reason: str
) -> None:
    server = stage.server(behaviour)
    with pytest.raises(BackendUnreachable, match=reason) as caught:
        await server.lease()
    assert caught.value.backend == "embedded"
    assert server.problem == caught.value.message
    assert "\n" not in server.problem
    await server.aclose()


async def test_a_start_is_bounded(stage: Stage) -> None:
    server = stage.server("mute", start_seconds=0.5)
    with pytest.raises(BackendUnreachable, match=r"within 0\.5 s \(embedded\.start_seconds\)"):
        await server.lease()
    await server.aclose()


async def test_a_program_that_is_not_there_is_a_reason_too(stage: Stage) -> None:
    server = EmbeddedServer(
        Embedded(model_path=stage.model),
        stage.state_dir,
        child_command=[str(stage.folder / "nothing-here")],
    )
    with pytest.raises(BackendUnreachable, match="could not be started"):
        await server.lease()
    await server.aclose()


async def test_a_child_that_ignores_every_request_is_killed(stage: Stage) -> None:
    pace = Pace(grace=0.05)
    server = stage.server("stubborn", pace=pace)
    await server.lease()
    await server.aclose()
    assert ended(stage.pids[0])


async def test_a_cancelled_close_kills_at_once(stage: Stage) -> None:
    server = stage.server("stubborn", pace=Pace(grace=600.0))
    await server.lease()
    closing = asyncio.create_task(server.aclose())
    await until(lambda: server.pid is None)
    for task in set(server._tasks):
        task.cancel()
    await closing
    await until(lambda: ended(stage.pids[0]))


async def test_missing_weights_are_absent_with_the_fix_and_found_later(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.runtime.backends.weights.MODULE", "no_such_package_of_weights")
    server = stage.server(model_path=None)
    assert (server.state, server.available, server.facts) == ("absent", False, None)
    assert "portal models pull embedded" in server.problem
    with pytest.raises(BackendUnreachable, match="portal models pull embedded"):
        await server.lease()
    (stage.state_dir / "models").mkdir(parents=True)
    (stage.state_dir / "models" / "tiny.gguf").write_bytes(b"GGUF")
    await server.lease()
    assert server.state == "live"
    await server.aclose()


async def test_a_missing_extra_is_absent_with_the_fix(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.runtime.backends.embedded_server.extra_installed", lambda: False)
    server = EmbeddedServer(Embedded(model_path=stage.model), stage.state_dir)
    assert server.state == "absent"
    assert "pip install 'portal-local[embedded]'" in server.problem
    with pytest.raises(BackendUnreachable, match="xllamacpp is not installed"):
        await server.lease()
    await server.aclose()


async def test_a_wrong_configured_file_is_dead_until_it_is_right(stage: Stage) -> None:
    stage.model.write_bytes(b"nope")
    server = stage.server()
    assert (server.state, server.available) == ("dead", False)
    with pytest.raises(BackendUnreachable, match="GGUF"):
        await server.lease()
    stage.model.write_bytes(b"GGUF")
    server.look()
    assert (server.state, server.available, server.problem) == ("standby", True, "")
    await server.aclose()


async def test_what_a_child_prints_goes_to_a_private_bounded_log(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    log = stage.state_dir / "logs" / "embedded.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"x" * (LOG_LIMIT + 1))
    server = stage.server("die")
    with pytest.raises(BackendUnreachable):
        await server.lease()
    await server.aclose()
    assert log.read_text("utf-8") == "the last words\n"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert log.with_name("embedded.log.1").stat().st_size == LOG_LIMIT + 1
    assert capfd.readouterr() == ("", "")


def test_a_log_that_outgrows_its_limit_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("ab", buffering=0) as log:
        log.write(b"x" * LOG_LIMIT)
        cut_log(log.fileno())
        assert path.stat().st_size == LOG_LIMIT
        log.write(b"x")
        cut_log(log.fileno())
        log.write(b"anew")
    assert path.read_bytes() == b"anew"


async def test_the_reason_never_quotes_an_earlier_run(stage: Stage) -> None:
    log = stage.state_dir / "logs" / "embedded.log"
    log.parent.mkdir(parents=True)
    log.write_text("yesterday's trouble\n", encoding="utf-8")
    server = stage.server("refuse")
    with pytest.raises(BackendUnreachable) as caught:
        await server.lease()
    assert "yesterday" not in caught.value.message
    await server.aclose()


PARENT = """
import asyncio, sys
from pathlib import Path
from portal.runtime.backends.embedded_server import EmbeddedServer
from portal.runtime.ops.schema import Embedded

async def main():
    settings = Embedded(model_path=Path(sys.argv[1]))
    server = EmbeddedServer(settings, Path(sys.argv[2]), child_command=sys.argv[3:])
    await server.lease()
    print(server.pid, flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


def test_the_child_ends_with_a_parent_that_was_killed(stage: Stage) -> None:
    child = [sys.executable, str(SCRIPT), str(stage.folder)]
    command = [sys.executable, "-c", PARENT, str(stage.model), str(stage.state_dir), *child]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        try:
            pid = int(parent.stdout.readline())
            assert not ended(pid)
        finally:
            parent.kill()
    deadline = time.monotonic() + PATIENCE
    while not ended(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ended(pid)
