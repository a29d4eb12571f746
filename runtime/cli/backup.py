"""`portal backup`: copy what Portal remembers, while it runs or not."""

import argparse
from pathlib import Path

from portal.runtime.cli.configuration import load_settings
from portal.runtime.cli.terminal import Terminal

NAME = "backup"
SUMMARY = "copy the database to a file, while Portal runs or not"
DESCRIPTION = (
    "Copy Portal's database, as it is at one moment, to a file. Portal may run and be busy. "
    "Without a file's name the copy goes to `backups` in the state directory."
)
READS_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "file", nargs="?", type=Path, metavar="[<file>]", help="where to; must not exist yet"
    )
    parser.add_argument("--json", action="store_true", help="write JSON")


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Make the copy."""
    settings = load_settings(options, terminal).settings

    from portal.runtime.state.backup import back_up

    made = back_up(settings.state_dir, options.file)
    size = made.stat().st_size
    if options.json:
        terminal.json({"file": str(made), "bytes": size})
    else:
        terminal.say(f"{made} is a backup of {size / 1e6:.1f} MB. `portal restore` reads it.")
    return 0
