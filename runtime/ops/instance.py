"""One Portal per state directory: the lock that says so, and `run.json` that says which.

Owns `portal.lock` (held for the life of the process), `portal.gate` (held for the moment in which
somebody looks at the lock) and `run.json` (0600) in the state directory. The kernel frees a lock
when its process dies, so a `run.json` that nobody's lock stands behind is stale.

The gate is why looking cannot do harm: to see whether the lock is free, one has to take it, and a
Portal that starts in that very moment would find it taken; nor could two who look at once tell
each other from a running Portal.
"""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import filelock
import msgspec

from portal.shared.errors import AlreadyRunning, ConfigurationError

LOCK = "portal.lock"
GATE = "portal.gate"
RUN = "run.json"
_GATE_SECONDS = 5.0


class RunInfo(msgspec.Struct, frozen=True):
    """What a running Portal tells the commands of its owner."""

    pid: int
    url: str
    token: str
    """The owner's key, new at every start; never logged."""
    started: float
    """Seconds since the epoch."""
    version: str

    def __repr__(self) -> str:
        return (
            f"RunInfo(pid={self.pid}, url={self.url!r}, token=****, "
            f"started={self.started}, version={self.version!r})"
        )


class InstanceLock:
    """The exclusive hold on a state directory. Made by `acquire`; ends with `release`."""

    def __init__(self, state_dir: Path, lock: filelock.BaseFileLock) -> None:
        self.state_dir = state_dir
        self._lock = lock

    def publish(self, info: RunInfo) -> None:
        """Write `run.json` with mode 0600, whole or not at all.

        Raises ConfigurationError when the disk refuses.
        """
        path = self.state_dir / RUN
        draft = path.with_suffix(".tmp")
        with _explained(self.state_dir):
            draft.unlink(missing_ok=True)  # left by a kill; nobody else writes it under the lock
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(handle, "wb") as file:  # noqa: PTH123 — a descriptor, no path
                os.fchmod(handle, 0o600)  # whatever the umask
                file.write(msgspec.json.encode(info))
                file.flush()
                os.fsync(handle)
            draft.replace(path)
            _sync_directory(self.state_dir)

    def release(self) -> None:
        """Remove `run.json` and let go; idempotent, and never raises for a vanished directory."""
        if not self._lock.is_locked:
            return
        with contextlib.suppress(OSError):
            (self.state_dir / RUN).unlink(missing_ok=True)
        self._lock.release()


def acquire(state_dir: Path) -> InstanceLock:
    """Take the state directory for this process, creating it (0700) where it is missing.

    A stale `run.json` is removed. Raises AlreadyRunning, which names the process and the URL of
    the other Portal, or ConfigurationError when the directory cannot be used.
    """
    with _explained(state_dir):
        if not state_dir.is_dir():
            state_dir.parent.mkdir(parents=True, exist_ok=True)
            state_dir.mkdir(mode=0o700, exist_ok=True)
            state_dir.chmod(0o700)  # whatever the umask
        with _gate(state_dir):
            lock = _file_lock(state_dir / LOCK)
            try:
                lock.acquire(blocking=False)
            except filelock.Timeout:
                raise _already_running(state_dir) from None
            (state_dir / RUN).unlink(missing_ok=True)
            return InstanceLock(state_dir, lock)


def read_run(state_dir: Path) -> RunInfo | None:
    """Read who runs on a state directory; None when nobody does, or when it is still starting.

    Creates nothing where no Portal ever was. Raises ConfigurationError when the directory cannot
    be read.
    """
    with _explained(state_dir):
        if not (state_dir / RUN).exists():
            return None
        with _gate(state_dir):
            lock = _file_lock(state_dir / LOCK)
            try:
                lock.acquire(blocking=False)
            except filelock.Timeout:
                return _read(state_dir / RUN)
            lock.release()
            return None


def new_token() -> str:
    """Make the owner's token for one run."""
    return secrets.token_urlsafe(32)


def _already_running(state_dir: Path) -> AlreadyRunning:
    info = _read(state_dir / RUN)
    if info is None:
        return AlreadyRunning(
            f"another Portal is just starting with the state directory {state_dir}"
        )
    return AlreadyRunning(
        f"Portal is already running at {info.url} (process {info.pid}) "
        f"with the state directory {state_dir}",
        pid=info.pid,
    )


def _read(path: Path) -> RunInfo | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunInfo)
    except (FileNotFoundError, ValueError, RecursionError):
        return None


@contextlib.contextmanager
def _gate(state_dir: Path) -> Iterator[None]:
    gate = _file_lock(state_dir / GATE)
    try:
        gate.acquire(timeout=_GATE_SECONDS, poll_interval=0.005)
    except filelock.Timeout as error:
        raise ConfigurationError(
            f"{state_dir / GATE} has been held for {_GATE_SECONDS:g} seconds, expected moments: "
            "another portal command hangs or is stopped"
        ) from error
    try:
        yield
    finally:
        gate.release()


def _file_lock(path: Path) -> filelock.BaseFileLock:
    # Not per thread: the lock is released by whichever thread shuts Portal down. No soft lock:
    # it would outlive a killed process.
    return filelock.FileLock(path, mode=0o600, thread_local=False, fallback_to_soft=False)


@contextlib.contextmanager
def _explained(state_dir: Path) -> Iterator[None]:
    """Turn errors of the file system into one sentence that names the way out."""
    try:
        yield
    except OSError as error:
        reasons = {
            errno.ENOTDIR: "there is a file where a directory is expected",
            errno.EEXIST: "there is a file where a directory is expected",
            errno.EACCES: "this user has no permission there",
            errno.EPERM: "this user has no permission there",
            errno.EROFS: "the file system is read-only",
            errno.ENOSPC: "the disk is full",
            errno.ENOSYS: "its file system cannot lock files",
        }
        reason = reasons.get(error.errno or 0) or error.strerror or str(error)
        raise ConfigurationError(
            f"the state directory {state_dir} cannot be used: {reason}; "
            "expected a writable directory, which state_dir or PORTAL_STATE_DIR names"
        ) from error


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
