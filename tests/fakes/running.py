"""Child processes of tests: started, awaited, ended; their ports and their environment."""

import contextlib
import itertools
import os
import signal
import site
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

HOST = "127.0.0.1"
PORTS = range(20_000, 32_000)
START_SECONDS = 20.0
STOP_SECONDS = 15.0
POLL_SECONDS = 0.02
LOG_TAIL = 4000
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT")

# Each process of a parallel run begins elsewhere and offers no port twice in a row.
_START = (os.getpid() * 97) % len(PORTS)
_PORTS: Iterator[int] = itertools.cycle((*PORTS[_START:], *PORTS[:_START]))


class StartError(AssertionError):
    """A program did not come up; the message ends with what it wrote."""


def heed_signals() -> None:
    """Undo, in a child, what a shell or nohup does to programs in its background: no SIGINT or HUP.

    The tests may be such a program themselves.
    """
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)


class Program:
    """A child process whose output is kept in a file."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: list[int] = []

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def logs(self) -> str:
        """Read all that it wrote so far, to stdout and stderr alike."""
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    def tail(self) -> str:
        """Show the end of what it wrote, for an error message."""
        return f"\n--- the end of its log ---\n{self.logs()[-LOG_TAIL:]}"

    def await_text(self, text: str, seconds: float) -> None:
        """Wait until it wrote this. AssertionError if it ends or takes too long."""
        deadline = time.monotonic() + seconds
        while text not in self.logs():
            if not self.alive or time.monotonic() > deadline:
                assert text in self.logs(), f"never wrote {text!r}{self.tail()}"
                return
            time.sleep(POLL_SECONDS)

    def launch(self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> None:
        """Start it, output appended to the log."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=heed_signals,  # noqa: PLW1509 — it touches nothing that threads share
            )
        self._groups.append(self._process.pid)

    def wait(self, seconds: float) -> int:
        """Wait for its end and return the exit status. Raises TimeoutExpired."""
        assert self._process is not None, "not started"
        return self._process.wait(seconds)

    def terminate(self, seconds: float = STOP_SECONDS) -> int:
        """Ask it to stop, and return its exit status. AssertionError when it does not."""
        assert self._process is not None, "not started"
        self._process.terminate()
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not stop within {seconds} s{self.tail()}") from None

    def kill(self) -> None:
        """End it by force, as a crash would, and leave its children alone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_SECONDS)

    def clear(self) -> None:
        """End it and whatever it, or an earlier start of it, left behind."""
        while self._groups:
            group = self._groups.pop()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if hasattr(os, "killpg"):
                    os.killpg(group, signal.SIGKILL)
        self.kill()


class Serving:
    """A program that serves on a port of loopback, the client that asks it, and its files.

    `folder` is its home; without one it has its own, gone at the end.
    """

    def __init__(self, name: str, folder: Path | None = None) -> None:
        self._own_folder = None
        if folder is None:
            self._own_folder = tempfile.TemporaryDirectory(prefix=f"{name}-")
            folder = Path(self._own_folder.name)
        self.folder = folder
        self.port = 0
        self._program = Program(folder / "log")
        self._client: httpx.Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where it serves, without a path."""
        return f"http://{HOST}:{self.port}"

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._program.alive

    def close(self) -> None:
        """End it by force, with what it started, and forget its own files."""
        self._close_client()
        self._program.clear()
        if self._own_folder is not None:
            self._own_folder.cleanup()

    def _client_of(self, port: int, seconds: float) -> httpx.Client:
        """Give the client of this address, which no proxy variable diverts."""
        if self._client is None:
            self._client = httpx.Client(
                base_url=f"http://{HOST}:{port}", trust_env=False, timeout=seconds
            )
        return self._client

    def _close_client(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def free_port() -> int:
    """Find a port below the ephemeral ones that nobody listens on."""
    for _ in range(len(PORTS)):
        port = next(_PORTS)
        if is_free(port):
            return port
    raise RuntimeError(f"no port is free from {PORTS.start} to {PORTS.stop - 1}")


def is_free(port: int) -> bool:
    """Try to bind a port, as a server would."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((HOST, port))
        except OSError:
            return False
    return True


def await_answer(
    program: Program,
    client: httpx.Client,
    path: str,
    good: Callable[[httpx.Response], bool],
    seconds: float = START_SECONDS,
) -> None:
    """Ask a starting program until its answer is good. StartError if it ends or takes too long."""
    deadline = time.monotonic() + seconds
    found = "nothing"
    while program.alive and time.monotonic() < deadline:
        try:
            answer = client.get(path, timeout=5)
        except httpx.TransportError as error:
            found = repr(error)
        else:
            if good(answer):
                return
            found = f"{answer.status_code} {answer.text[:500]}"
        time.sleep(POLL_SECONDS)
    if program.alive:
        raise StartError(f"{path} gave {found} for {seconds} s{program.tail()}")
    raise StartError(f"exited with status {program.wait(1)}{program.tail()}")


def clean_environment(home: Path) -> dict[str, str]:
    """Make an environment without the user's settings, proxies and home."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    if site.ENABLE_USER_SITE:
        kept["PYTHONUSERBASE"] = site.getuserbase()
    return kept | {"HOME": str(home), "USERPROFILE": str(home), "PYTHONUNBUFFERED": "1"}
