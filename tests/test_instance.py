"""One Portal per state directory: the lock, `run.json`, and what a kill leaves behind."""

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from portal.runtime.ops.instance import (
    GATE,
    LOCK,
    RUN,
    RunInfo,
    acquire,
    new_token,
    read_run,
)
from portal.shared.errors import AlreadyRunning, ConfigurationError

HOLDER = """
import sys, os
from pathlib import Path
from portal.runtime.ops.instance import RunInfo, acquire
lock = acquire(Path(sys.argv[1]))
lock.publish(RunInfo(os.getpid(), "http://127.0.0.1:8081", "t" * 43, 1.5, "1.3.0"))
print("ready", flush=True)
sys.stdin.read()
lock.release()
"""


def info(pid: int = 42) -> RunInfo:
    return RunInfo(
        pid=pid, url="http://127.0.0.1:8081", token="secret-token", started=1.5, version="1.3.0"
    )


@contextmanager
def other_portal(state: Path) -> Iterator[subprocess.Popen[str]]:
    """Hold a state directory from a real second process; closing its stdin ends it in order."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=30)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_state_directory_and_its_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    state = tmp_path / "new" / "state"
    for umask in (0o000, 0o777):
        before = os.umask(0o022)
        state.parent.mkdir(exist_ok=True)
        os.umask(umask)
        try:
            lock = acquire(state)
            lock.publish(info())
        finally:
            os.umask(before)
        assert mode(state) == 0o700
        assert mode(state / RUN) == 0o600
        assert mode(state / LOCK) == 0o600
        assert mode(state / GATE) == 0o600
        assert sorted(path.name for path in state.iterdir()) == sorted([RUN, LOCK, GATE])
        lock.release()
        for path in state.iterdir():
            path.unlink()
        state.rmdir()


def test_what_was_published_is_read_back_while_the_lock_is_held(tmp_path: Path) -> None:
    lock = acquire(tmp_path)
    assert read_run(tmp_path) is None
    lock.publish(info())
    assert read_run(tmp_path) == info()
    lock.publish(info(pid=43))
    assert read_run(tmp_path) == info(pid=43)
    lock.release()
    assert read_run(tmp_path) is None
    assert not (tmp_path / RUN).exists()
    lock.release()
    acquire(tmp_path).release()


def test_a_second_portal_in_the_same_process_is_refused_too(tmp_path: Path) -> None:
    lock = acquire(tmp_path)
    with pytest.raises(AlreadyRunning, match="just starting") as caught:
        acquire(tmp_path)
    assert caught.value.pid is None
    lock.publish(info())
    with pytest.raises(AlreadyRunning, match=r"http://127\.0\.0\.1:8081 \(process 42\)") as caught:
        acquire(tmp_path)
    assert caught.value.pid == 42
    assert "secret-token" not in str(caught.value)
    assert read_run(tmp_path) == info()
    lock.release()


def test_a_second_process_is_refused_and_the_first_is_named(tmp_path: Path) -> None:
    with other_portal(tmp_path) as process:
        with pytest.raises(AlreadyRunning) as caught:
            acquire(tmp_path)
        assert caught.value.pid == process.pid
        assert f"process {process.pid}" in str(caught.value)
        found = read_run(tmp_path)
        assert found is not None
        assert found.pid == process.pid
        process.communicate(timeout=30)
        assert process.returncode == 0
    assert read_run(tmp_path) is None
    acquire(tmp_path).release()


def test_after_a_kill_the_directory_is_free_and_its_run_file_is_stale(tmp_path: Path) -> None:
    with other_portal(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
    assert (tmp_path / RUN).exists()
    assert read_run(tmp_path) is None
    lock = acquire(tmp_path)
    assert not (tmp_path / RUN).exists(), "nobody may read the dead one's token as the new one's"
    assert read_run(tmp_path) is None
    lock.publish(info())
    assert read_run(tmp_path) == info()
    lock.release()


def test_a_half_written_draft_of_a_killed_portal_is_in_nobodys_way(tmp_path: Path) -> None:
    draft = tmp_path / "run.tmp"
    draft.write_text("{", encoding="utf-8")
    draft.chmod(0o644)
    lock = acquire(tmp_path)
    lock.publish(info())
    assert mode(tmp_path / RUN) == 0o600
    assert not draft.exists()
    lock.release()


def test_a_run_file_that_makes_no_sense_names_nobody(tmp_path: Path) -> None:
    lock = acquire(tmp_path)
    for raw in (b"", b"{}", b"\xff", b"[" * 100_000, b'{"pid": "x"}'):
        (tmp_path / RUN).write_bytes(raw)
        assert read_run(tmp_path) is None
        with pytest.raises(AlreadyRunning, match="just starting"):
            acquire(tmp_path)
    lock.release()


def test_looking_never_keeps_a_portal_from_starting(tmp_path: Path) -> None:
    state = tmp_path / "state"
    stop = threading.Event()
    seen: list[RunInfo] = []
    failures: list[BaseException] = []

    def look() -> None:
        try:
            while not stop.is_set():
                found = read_run(state)
                if found is not None:
                    seen.append(found)
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for pid in range(1, 60):
            lock = acquire(state)
            lock.publish(info(pid))
            assert read_run(state) == info(pid)
            # As a kill does: the lock goes, the file stays.
            left = (state / RUN).read_bytes()
            lock.release()
            (state / RUN).write_bytes(left)
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=30)
    assert not failures
    assert all(not thread.is_alive() for thread in threads)
    assert read_run(state) is None


def test_reading_creates_nothing(tmp_path: Path) -> None:
    assert read_run(tmp_path / "state") is None
    assert read_run(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_path_under_a_file_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for state in (tmp_path / "file", tmp_path / "file" / "state", tmp_path / "file" / "a" / "b"):
        with pytest.raises(ConfigurationError, match=r"a file where a directory.*PORTAL_STATE_DIR"):
            acquire(state)
        assert read_run(state) is None


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EACCES, "this user has no permission there"),
        (errno.EROFS, "the file system is read-only"),
        (errno.ENOSPC, "the disk is full"),
    ],
)
def test_a_directory_that_cannot_be_written_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: str
) -> None:
    lock = acquire(tmp_path)

    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(ConfigurationError, match=reason):
            lock.publish(info())
        with pytest.raises(ConfigurationError, match=reason):
            acquire(tmp_path / "state")
    lock.release()


def test_release_survives_a_directory_that_is_gone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    lock = acquire(state)
    lock.publish(info())
    for path in state.iterdir():
        path.unlink()
    state.rmdir()
    lock.release()


def test_tokens_are_long_new_and_never_in_a_repr() -> None:
    assert new_token() != new_token()
    assert len(new_token()) >= 43
    assert "secret-token" not in repr(info())
