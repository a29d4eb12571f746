"""One run of the embedded model's process: start, handshake, end. Never leaves an orphan behind.

Owns the process and its pipes. When to start, restart or stop is `embedded_server`'s business.
"""

import asyncio
import contextlib
import os
import random
import secrets
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import msgspec

from portal.runtime.backends.embedded_child import HOST, LOG_LIMIT, Configuration, Failed, Ready
from portal.runtime.backends.weights import Weights
from portal.runtime.ops.schema import Embedded

COMMAND = (sys.executable, "-P", "-m", "portal.runtime.backends.embedded_child")
PORTS = range(20000, 32768)
"""Below the ephemeral range, where an outgoing connection could take the port first."""
PORT_ATTEMPTS = 5
BURIAL_SECONDS = 1.0
"""Longest wait for the end of a process that was killed."""
PRIVATE = ("KEY", "TOKEN", "SECRET", "PASSWORD")


class ChildFailed(Exception):
    """The process did not come up; the text is one line for people."""


class ChildProcess:
    """A running child that answered: its address, its key, and how many use it."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        ready: Ready,
        api_key: str,
        weights: Weights,
        log: "Log",
    ) -> None:
        self.url = f"http://{HOST}:{ready.port}"
        self.api_key = api_key
        self.weights = weights
        self.context_window = ready.context_window
        self.pid = process.pid
        self.leases = 0
        self.started = asyncio.get_running_loop().time()
        self._process = process
        self._log = log

    async def wait(self) -> None:
        """Wait for the end."""
        await self._process.wait()

    async def last_words(self) -> str:
        """Say in one line how it ended."""
        return await asyncio.to_thread(self._log.explain, self._process.returncode or 0)

    async def stop(self, grace: float) -> None:
        """Close its stdin, then SIGTERM, then SIGKILL, `grace` seconds apart; idempotent."""
        await stop(self._process, grace)


class Log:
    """The file that takes the child's stderr, and what this run wrote there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._from = 0

    def open(self) -> IO[bytes]:
        """Open for appending; a file over the limit becomes `<name>.1`."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if self.path.stat().st_size > LOG_LIMIT:
                self.path.replace(self.path.with_name(self.path.name + ".1"))
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        file = os.fdopen(descriptor, "ab")
        self._from = file.seek(0, os.SEEK_END)
        return file

    def explain(self, status: int) -> str:
        """Put an exit status and the last line of this run into words."""
        if status == -signal.SIGKILL:  # it had no time for last words
            return "its process was killed (perhaps for lack of memory)"
        how = f"with status {status}"
        if status < 0:
            with contextlib.suppress(ValueError):  # a real-time signal has no name
                how = f"by {signal.Signals(-status).name}"
        return self.add_last_line(f"its process ended {how}")

    def add_last_line(self, reason: str) -> str:
        """Append what this run wrote last to a reason, if it wrote anything."""
        with contextlib.suppress(OSError), self.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = self._from if self._from <= size else 0
            file.seek(max(start, size - 4096))
            lines = file.read().decode("utf-8", "replace").split("\n")
            written = [" ".join(line.split()) for line in lines if line.strip()]
            if written:
                return f"{reason}; its log ends with: {written[-1][:300]}"
        return reason


def usable_cores() -> int:
    """Count the cores that this process may run on, by affinity and by the container's quota."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        cores = min(cores, -(-int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # no such file, or no quota ("max")
    return max(1, cores)


def free_port() -> int:
    """Pick a loopback port that nothing listens on now. Raises ChildFailed after many tries."""
    for port in random.sample(PORTS, 50):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return port
    raise ChildFailed(f"no free port between {PORTS[0]} and {PORTS[-1]} on {HOST}")


def child_environment() -> dict[str, str]:
    """Copy the environment without anything that looks like a secret: native code needs none."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PORTAL_") and not any(word in name.upper() for word in PRIVATE)
    }


async def launch(
    command: Sequence[str], settings: Embedded, weights: Weights, log_path: Path, grace: float
) -> ChildProcess:
    """Start a child and wait until it answers, within `settings.start_seconds`.

    Raises ChildFailed. However it ends, cancelled too, no process is left behind.
    """
    log = Log(log_path)
    cores = usable_cores()
    failed = Failed("")
    try:
        async with asyncio.timeout(settings.start_seconds):
            for _ in range(PORT_ATTEMPTS):
                configuration = Configuration(
                    model_path=str(weights.path),
                    model_name=weights.facts.name,
                    api_key=secrets.token_urlsafe(32),
                    port=free_port(),
                    threads=settings.threads or max(1, cores - 1),
                    batch_threads=cores,
                    context_window=settings.context_window,
                    parent_pid=os.getpid(),
                    chat_template=weights.facts.chat_template,
                    temperature=weights.facts.temperature,
                )
                process = await _spawn(command, log, grace)
                outcome = await _shake_hands(process, configuration, log, grace)
                if isinstance(outcome, Ready):
                    return ChildProcess(process, outcome, configuration.api_key, weights, log)
                failed = outcome
                if not failed.port_taken:
                    break
    except TimeoutError:
        raise ChildFailed(
            await asyncio.to_thread(
                log.add_last_line,
                f"it was not ready within {settings.start_seconds:g} s (embedded.start_seconds)",
            )
        ) from None
    except OSError as error:
        raise ChildFailed(f"it could not be started: {error}") from None
    raise ChildFailed(failed.reason)


async def stop(process: asyncio.subprocess.Process, grace: float) -> None:
    """End a process by ever harder means; when this is cancelled, by the hardest at once."""
    try:
        if process.stdin is not None:
            process.stdin.close()
        for harder in (process.terminate, process.kill):
            if await _ends_within(process, grace):
                return
            with contextlib.suppress(ProcessLookupError):
                harder()
        await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            # Also when this is cancelled: it takes a moment, and else nobody buries the process.
            await _ends_within(process, BURIAL_SECONDS)


async def _ends_within(process: asyncio.subprocess.Process, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await process.wait()
    return process.returncode is not None


async def _spawn(command: Sequence[str], log: Log, grace: float) -> asyncio.subprocess.Process:
    with log.open() as stderr:  # not in a thread: cancelled there, it would leave the file open
        spawning = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                env=child_environment(),
            )
        )
        try:
            return await asyncio.shield(spawning)
        except asyncio.CancelledError:
            await stop(await spawning, grace)
            raise


async def _shake_hands(
    process: asyncio.subprocess.Process, configuration: Configuration, log: Log, grace: float
) -> Ready | Failed:
    """Configure the child and take its one line; unless it is ready, the process is ended."""
    outcome: Ready | Failed | None = None
    try:
        outcome = await _ask(process, configuration)
    finally:
        if not isinstance(outcome, Ready):
            await stop(process, grace)
    if outcome is None:
        return Failed(await asyncio.to_thread(log.explain, process.returncode or 0))
    if isinstance(outcome, Failed):
        reason = await asyncio.to_thread(log.add_last_line, outcome.reason)
        return Failed(reason, outcome.port_taken)
    return outcome


async def _ask(
    process: asyncio.subprocess.Process, configuration: Configuration
) -> Ready | Failed | None:
    """Exchange the two lines; None when the child ended without a word."""
    if process.stdin is None or process.stdout is None:
        raise AssertionError("both pipes were asked for")
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # seen below as no line
        process.stdin.write(msgspec.json.encode(configuration) + b"\n")
        await process.stdin.drain()
    try:
        line = await process.stdout.readline()
        return msgspec.json.decode(line, type=Ready | Failed) if line else None
    except ValueError as error:  # no JSON, no UTF-8, or a line without end
        return Failed(f"it did not answer with one JSON line ({error})")
