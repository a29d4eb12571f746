"""`portal restore`: put a backup in the database's place, while no Portal runs."""

import argparse
from pathlib import Path

from portal.runtime.cli.configuration import load_settings
from portal.runtime.cli.terminal import Terminal

NAME = "restore"
SUMMARY = "put a backup in the database's place"
DESCRIPTION = (
    "Check a backup and put it in the place of Portal's database. No Portal may run: "
    "`portal down` ends it. The database that was there is kept in `backups`."
)
READS_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("file", type=Path, metavar="<file>", help="the backup")
    parser.add_argument("--json", action="store_true", help="write JSON")


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Restore it, under the lock of the state directory."""
    settings = load_settings(options, terminal).settings

    from portal.runtime.ops.instance import acquire
    from portal.runtime.state.backup import restore

    lock = acquire(settings.state_dir)
    try:
        kept = restore(settings.state_dir, options.file)
    finally:
        lock.release()
    if options.json:
        terminal.json({"restored": str(options.file), "kept": None if kept is None else str(kept)})
        return 0
    terminal.say(f"{options.file} is restored.")
    if kept is not None:
        terminal.say(f"The database that was there is {kept} now.")
    return 0
