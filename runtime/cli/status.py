"""`portal status`: whether Portal runs, how it is, and a link that signs a browser in."""

import argparse
from typing import TYPE_CHECKING

from portal.runtime.cli.configuration import load_settings
from portal.runtime.cli.terminal import Terminal, duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from portal.runtime.ops.instance import RunInfo
    from portal.shared.models import BackendStatus, Health

NAME = "status"
SUMMARY = "tell whether Portal runs, and how it is"
DESCRIPTION = (
    "Tell whether Portal runs and how it is. Exit status 0 when it runs and is well, 1 otherwise. "
    "Prints a fresh link that signs one browser in, once."
)
READS_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--json", action="store_true", help="write JSON")


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Ask the running Portal."""
    settings = load_settings(options, terminal).settings

    import asyncio

    from portal.runtime.cli.running import NotAnswering, Refused, find_running

    running = find_running(settings.state_dir)
    if running is None:
        if options.json:
            terminal.json({"running": False})
        else:
            terminal.say("Portal is not running. `portal up` starts it.")
        return 1
    try:
        health = running.health()
        backends = asyncio.run(running.backends())
        link = running.session_link()
    except (NotAnswering, Refused) as error:
        if options.json:
            known = {"pid": running.run.pid, "url": running.run.url}
            terminal.json({"running": True, **known, "error": error.message})
        else:
            terminal.fault(error.message)
        return 1
    well = health.status == "ok" and health.ready
    if options.json:
        terminal.json(
            {
                "running": True,
                "pid": running.run.pid,
                "url": running.run.url,
                "version": health.version,
                "uptime_seconds": health.uptime_seconds,
                "status": health.status,
                "ready": health.ready,
                "problems": health.problems,
                "backends": backends,
                "link": link,
            }
        )
        return 0 if well else 1
    for line in render(running.run, health, backends, link):
        terminal.say(line)
    return 0 if well else 1


def render(
    run: "RunInfo", health: "Health", backends: "Sequence[BackendStatus]", link: str
) -> list[str]:
    """Word the state of a running Portal; pure."""
    from portal.runtime.cli.backends import render as render_backends

    state = health.status if health.ready else "not taking requests"
    return [
        f"Portal {health.version} is running, {state}.",
        "",
        f"  pid     {run.pid}, for {duration(health.uptime_seconds)}",
        f"  URL     {run.url}",
        f"  API     {run.url}/v1",
        f"  Page    {link}",
        *(f"  Problem {problem}" for problem in health.problems),
        "",
        *render_backends(backends),
    ]
