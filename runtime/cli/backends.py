"""`portal backends`: the servers that run the models, and how they are."""

import argparse
import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from portal.runtime.cli.configuration import load_settings
from portal.runtime.cli.terminal import Terminal, table

if TYPE_CHECKING:
    from portal.shared.models import BackendStatus

NAME = "backends"
SUMMARY = "list the servers that run models"
DESCRIPTION = (
    "List the configured backends and those found on this machine. Asks the running Portal; "
    "without one, asks the backends itself."
)
READS_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("action", nargs="?", choices=("list",), default="list", help="list them")
    parser.add_argument("--json", action="store_true", help="write JSON")


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """List them."""
    backends = asyncio.run(_backends(options, terminal))
    if options.json:
        terminal.json({"data": backends})
        return 0
    for line in render(backends):
        terminal.say(line)
    return 0


def render(backends: "Sequence[BackendStatus]") -> list[str]:
    """Lay the backends out as a table; pure."""
    rows = [
        (
            status.name,
            status.kind,
            status.state,
            str(status.models),
            status.url or (f"pid {status.pid}" if status.pid else ""),
            # What was merely looked for and is not there is no news.
            status.error if status.configured or status.state != "absent" else "",
        )
        for status in backends
    ]
    return table(("BACKEND", "KIND", "STATE", "MODELS", "ADDRESS", ""), rows)


async def _backends(options: argparse.Namespace, terminal: Terminal) -> "Sequence[BackendStatus]":
    settings = load_settings(options, terminal).settings

    from portal.runtime.cli.running import find_running

    running = find_running(settings.state_dir)
    if running is not None:
        return await running.backends()

    from portal.runtime.cli.in_process import look_around

    async with look_around(settings) as found:
        return await found.backends()
