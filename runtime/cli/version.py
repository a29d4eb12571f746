"""`portal version`: say which Portal this is."""

import argparse

from portal.runtime.cli.terminal import Terminal

NAME = "version"
SUMMARY = "print the version"
DESCRIPTION = "Print Portal's version, and which Python runs it."
READS_SETTINGS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--json", action="store_true", help="write JSON")


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Print it."""
    import platform

    from portal.runtime.ops.version import version

    if options.json:
        terminal.json({"version": version(), "python": platform.python_version()})
    else:
        terminal.say(f"portal {version()}")
    return 0
