"""`portal backends`: the servers that run models, how they are, and a second chance for them."""

import argparse
import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from portal.runtime.cli.configuration import load_settings
from portal.runtime.cli.terminal import Terminal, table

if TYPE_CHECKING:
    from portal.runtime.ops.schema import Settings
    from portal.shared.models import BackendStatus, BreakerStatus

NAME = "backends"
SUMMARY = "list the servers that run models; try failing models again"
DESCRIPTION = (
    "list: the configured backends and those found on this machine, and which of their models "
    "failed lately. Asks the running Portal; without one, asks the backends itself. reset: let a "
    "running Portal ask models again at once that it leaves alone after failures."
)
READS_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--json", action="store_true", help="write JSON")
    parser.set_defaults(action="list")
    actions = parser.add_subparsers(metavar="[list | reset [<backend>] [<model>]]")
    listing = actions.add_parser("list", help="list them", allow_abbrev=False)
    listing.set_defaults(action="list")
    reset = actions.add_parser("reset", help="ask failing models again", allow_abbrev=False)
    reset.add_argument("backend", nargs="?", help="those of one backend (default: all)")
    reset.add_argument("model", nargs="?", help="one model of it, by its own name")
    reset.set_defaults(action="reset")
    for each in (listing, reset):
        each.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="write JSON"
        )


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """List them, or reset."""
    settings = load_settings(options, terminal).settings
    if options.action == "reset":
        return _reset(options, settings, terminal)
    backends = asyncio.run(_backends(settings))
    if options.json:
        terminal.json({"data": backends})
        return 0
    for line in render(backends):
        terminal.say(line)
    return 0


def render(backends: "Sequence[BackendStatus]") -> list[str]:
    """Lay the backends out as a table, and below them the models that failed lately; pure."""
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
    lines = table(("BACKEND", "KIND", "STATE", "MODELS", "ADDRESS", ""), rows)
    failed = [
        (f"{status.name}/{breaker.model}", _held(breaker), str(breaker.failures), breaker.error)
        for status in backends
        for breaker in status.breakers
    ]
    if failed:
        lines += ["", *table(("MODEL", "BREAKER", "FAILURES", "LAST FAILURE"), failed)]
        lines.append("`portal backends reset` lets them be asked again at once.")
    return lines


def _held(breaker: "BreakerStatus") -> str:
    """Say what a breaker lets through, in words."""
    if breaker.state == "half_open":
        return "half open: one request tries it"
    if not breaker.retry_seconds:
        return "open: the next request tries it" if breaker.state == "open" else "closed"
    wait = f"tried again in {breaker.retry_seconds:.0f} s"
    return f"open: {wait}" if breaker.state == "open" else f"paused: {wait}"


def _reset(options: argparse.Namespace, settings: "Settings", terminal: Terminal) -> int:
    from portal.runtime.cli.running import find_running

    running = find_running(settings.state_dir)
    if running is None:
        terminal.fault("Portal is not running, and remembers no failures. `portal up` starts it.")
        return 1
    backend, model = options.backend, options.model
    if backend is not None and model is None and "/" in backend:
        backend, _, model = backend.partition("/")
    count = running.reset_breakers(backend, model)
    if options.json:
        terminal.json({"reset": count})
    elif count:
        terminal.say(f"{count} {'model is' if count == 1 else 'models are'} asked again.")
    else:
        terminal.say("There was nothing to reset.")
    return 0


async def _backends(settings: "Settings") -> "Sequence[BackendStatus]":
    from portal.runtime.cli.door import open_door

    async with open_door(settings) as door:
        return await door.backends()
