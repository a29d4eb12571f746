"""`portal up --detach`: the same start in a session of its own, watched until it is ready."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from portal.runtime.cli.running import RunningServer, find_running
from portal.runtime.cli.terminal import Terminal, clean
from portal.runtime.ops.schema import Settings
from portal.shared.errors import AlreadyRunning, PortalError

START_SECONDS = 30.0
LOOK_SECONDS = 0.05
LOG_NAME = "portal.log"
LARGEST_LOG = 10 * 1024 * 1024
"""A log over this size is put aside at the next start; one old log is kept."""
SHOWN_LINES = 12
STOP_SECONDS = 5.0


def start(options: argparse.Namespace, settings: Settings, terminal: Terminal) -> int:
    """Start in the background and return when it is ready; 1 when it ended instead.

    Raises AlreadyRunning.
    """
    running = find_running(settings.state_dir)
    if running is not None:
        raise AlreadyRunning(
            f"Portal is running already: pid {running.run.pid}, {running.run.url}. "
            "`portal down` ends it.",
            pid=running.run.pid,
        )
    log = settings.state_dir / "logs" / LOG_NAME
    begin = prepare_log(log)
    with log.open("ab") as output:
        child = subprocess.Popen(  # noqa: S603 — this program itself
            command(options),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        server = _await_ready(child, settings.state_dir)
    except KeyboardInterrupt:
        _end(child)
        raise
    if server is None:
        _end(child)
        terminal.fault("Portal did not start. The end of its log:")
        for line in last_lines(log, begin):
            terminal.note(f"  {line}")
        terminal.note(f"The whole log: {log}")
        return 1
    terminal.say(f"Portal is running in the background: pid {server.run.pid}, {server.run.url}")
    terminal.say(f"  Page    {server.session_link()}")
    terminal.say(f"  Log     {log}")
    terminal.say("  Stop    portal down")
    return 0


def command(options: argparse.Namespace) -> list[str]:
    """Word the start of the process in the background; `-P` keeps the folder we are in out."""
    words = [sys.executable, "-P", "-m", "portal.runtime", "up", "--no-browser", "--no-link"]
    for name in ("config", "host", "port"):
        value = getattr(options, name)
        if value is not None:
            words += [f"--{name}", str(value)]
    return words


def prepare_log(log: Path) -> int:
    """Make the log's folder and file, private; give the size from which this start writes."""
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if log.exists() and log.stat().st_size > LARGEST_LOG:
        log.replace(log.with_suffix(".log.1"))
    os.close(os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
    return log.stat().st_size


def last_lines(log: Path, begin: int) -> list[str]:
    """Read the last lines written since `begin`, a number of bytes."""
    with log.open("rb") as file:
        file.seek(begin)
        text = file.read().decode("utf-8", "replace")
    return [clean(line) for line in text.splitlines()[-SHOWN_LINES:]]


def _await_ready(child: "subprocess.Popen[bytes]", state_dir: Path) -> RunningServer | None:
    deadline = time.monotonic() + START_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        server = find_running(state_dir)
        try:
            if server is not None and server.ready():
                return server
        except PortalError:
            pass  # it may be on the way down; the child's end then tells
        time.sleep(LOOK_SECONDS)
    return None


def _end(child: "subprocess.Popen[bytes]") -> None:
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
