"""`portal up`: start the server and stay with it, or leave it in the background."""

import argparse
from typing import TYPE_CHECKING

from portal.runtime.cli.configuration import load_settings
from portal.runtime.cli.terminal import Terminal

if TYPE_CHECKING:
    from portal.runtime.ops.schema import Settings

NAME = "up"
SUMMARY = "start Portal"
DESCRIPTION = (
    "Start Portal and stay in the foreground until Ctrl-C. From a terminal, the page opens in the "
    "browser, signed in."
)
READS_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default: 8081)")
    parser.add_argument("--no-browser", action="store_true", help="do not open the page")
    parser.add_argument("--detach", action="store_true", help="run in the background")
    # Set by --detach for the process in the background, whose output is a log file.
    parser.add_argument("--no-link", action="store_true", help=argparse.SUPPRESS)


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Start, serve, stop. A stop by Ctrl-C or SIGTERM is a normal end."""
    overrides = {"server.host": options.host, "server.port": options.port}
    settings = load_settings(options, terminal, overrides=overrides).settings
    if options.detach:
        from portal.runtime.cli.detach import start

        return start(options, settings, terminal)
    return _serve(options, settings, terminal)


def _serve(options: argparse.Namespace, settings: "Settings", terminal: Terminal) -> int:
    from portal.runtime.cli import serving, weights
    from portal.runtime.ops import instance, logs
    from portal.runtime.server import bind
    from portal.runtime.state.backup import refuse_newer

    logs.configure(
        terminal.stderr, coloured=terminal.coloured, secrets=serving.secrets_of(settings)
    )
    lock = instance.acquire(settings.state_dir)
    try:
        refuse_newer(settings.state_dir)
        listener = bind(settings.server.host, settings.server.port)
        with listener:
            weights.offer(settings, terminal)
            started = serving.serve(
                settings,
                listener,
                lock,
                terminal,
                link=not options.no_link,
                browser=terminal.interactive and not options.no_browser,
            )
    finally:
        lock.release()
    return 0 if started else 1
