"""`portal down`: end the running Portal in order."""

import argparse

from portal.runtime.cli.configuration import load_settings
from portal.runtime.cli.terminal import Terminal

NAME = "down"
SUMMARY = "stop Portal"
DESCRIPTION = "Stop the running Portal; answers under way may end first, within a limit."
READS_SETTINGS = True

MARGIN_SECONDS = 5.0
"""Waited for beyond the longest stop that the settings allow."""
LOOK_SECONDS = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: there is nothing to choose."""


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Stop it, and wait until the state directory is free."""
    settings = load_settings(options, terminal).settings

    import os
    import signal
    import time

    from portal.runtime.cli.running import NotAnswering, Refused, find_running

    running = find_running(settings.state_dir)
    if running is None:
        terminal.fault("Portal is not running.")
        return 1
    pid = running.run.pid
    try:
        running.stop()
    except (NotAnswering, Refused):
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass  # it ended meanwhile, which is what was wanted
        except PermissionError:
            terminal.fault(f"Portal (pid {pid}) belongs to another user, who can stop it.")
            return 1
    deadline = time.monotonic() + settings.server.shutdown_seconds + MARGIN_SECONDS
    while time.monotonic() < deadline:
        found = find_running(settings.state_dir)
        if found is None or found.run.pid != pid:
            terminal.say("Portal has stopped.")
            return 0
        time.sleep(LOOK_SECONDS)
    terminal.fault(f"Portal (pid {pid}) was asked to stop, and is still running.")
    return 1
