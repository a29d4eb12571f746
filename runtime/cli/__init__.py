"""The command `portal`: one module per command, and the one place where their errors end.

Exit status: 0 done, 1 found a fault, 2 used wrongly, 130 interrupted. Importing this loads no
web framework and no settings: each command imports what it needs when it runs.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from portal.runtime.cli import (
    backends,
    backup,
    chat,
    compare,
    config,
    conversations,
    doctor,
    down,
    functions,
    models,
    personas,
    restore,
    route,
    status,
    up,
    version,
)
from portal.runtime.cli.terminal import Terminal
from portal.shared.errors import PortalError

COMMANDS = (
    up,
    down,
    status,
    chat,
    compare,
    route,
    models,
    personas,
    backends,
    conversations,
    backup,
    restore,
    functions,
    config,
    doctor,
    version,
)
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; `argv` are the words after `portal`."""
    terminal = Terminal.of_process()
    # `up` sets the log up. Elsewhere what matters is told in sentences, not in log lines.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        return _run(argv, terminal)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has left; there is nobody to tell.
        return 1
    finally:
        terminal.close()


def _run(argv: Sequence[str] | None, terminal: Terminal) -> int:
    parser = build_parser()
    options = parser.parse_args(argv)
    if options.run is None:
        parser.print_help(terminal.stderr)
        return 2
    try:
        found: int = options.run(options, terminal)
    except PortalError as error:
        terminal.fault(error.message)
        return 1
    except BrokenPipeError:
        raise
    except OSError as error:
        terminal.fault(_told(error))
        return 1
    except Exception as error:  # noqa: BLE001 — a person at a terminal gets a sentence, always
        terminal.fault(
            f"{options.command} failed unexpectedly ({type(error).__name__}: {error}). "
            "This is a fault in Portal; `portal doctor` may tell more."
        )
        return 1
    return found


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of all commands; their options hold `command` and `run`."""
    parser = argparse.ArgumentParser(
        prog="portal",
        description="A local-first AI platform: one process, your models, every door.",
        epilog="`portal <command> --help` tells more. Start with `portal up`.",
        allow_abbrev=False,
    )
    parser.set_defaults(run=None, command=None)
    commands = parser.add_subparsers(metavar="<command>", dest="command")
    for module in COMMANDS:
        sub = commands.add_parser(
            module.NAME, help=module.SUMMARY, description=module.DESCRIPTION, allow_abbrev=False
        )
        if module.READS_SETTINGS:
            sub.add_argument(
                "--config",
                type=Path,
                metavar="FILE",
                help="the configuration file (default: ./portal.toml, then ~/.portal/portal.toml)",
            )
        sub.set_defaults(run=module.run)
        module.add_arguments(sub)
    return parser


def _told(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or error}."
