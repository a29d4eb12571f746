"""`portal functions`: everything that Portal does, from its catalogue."""

import argparse

from portal.runtime.cli.terminal import Terminal, table

NAME = "functions"
SUMMARY = "list everything that Portal does"
DESCRIPTION = "List every function with its trigger, scope and meaning. Needs no running Portal."
READS_SETTINGS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--json", action="store_true", help="write JSON")


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """List them."""
    from portal.runtime.catalogue import describe, discover
    from portal.runtime.context import CallContext

    found = describe(discover(context=CallContext))
    if options.json:
        terminal.json({"data": found})
        return 0
    rows = [(each.name, each.trigger, each.detail, each.scope, each.summary) for each in found]
    for line in table(("FUNCTION", "TRIGGER", "RUNS ON", "SCOPE", "WHAT IT DOES"), rows):
        terminal.say(line)
    return 0
