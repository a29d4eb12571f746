"""`portal models`: what can be asked, fetched, removed, loaded and unloaded."""

import argparse
import asyncio
import contextlib
from typing import TYPE_CHECKING

from portal.runtime.cli.configuration import load_settings
from portal.runtime.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from portal.runtime.ops.schema import Settings
    from portal.shared.model_list import ModelEntry

NAME = "models"
SUMMARY = "list models; show, pull, remove, load or unload one"
DESCRIPTION = (
    "List what can be asked: workspaces, personas, and the models of every backend. Show one, let "
    "its backend download or remove it, or bring it into memory. Asks the running Portal; without "
    "one, asks the backends itself."
)
READS_SETTINGS = True
EMBEDDED = "embedded"
ACTIONS = (
    ("show", "<id>", "tell all that is known of one"),
    ("pull", "<model>", f"download one to its backend; `{EMBEDDED}` is Portal's own"),
    ("remove", "<model>", "delete one from its backend"),
    ("load", "<model>", "bring one into its backend's memory"),
    ("unload", "<model>", "free the memory that one takes"),
)
DONE = {"remove": "removed", "load": "loaded", "unload": "unloaded"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--json", action="store_true", help="write JSON")
    parser.set_defaults(action="list", model=None)
    words = " | ".join(["list", *(f"{name} {model}" for name, model, _ in ACTIONS)])
    actions = parser.add_subparsers(metavar=f"[{words}]")
    listing = actions.add_parser("list", help="list them", allow_abbrev=False)
    listing.set_defaults(action="list")
    parsers = [listing]
    for name, model, help_ in ACTIONS:
        action = actions.add_parser(name, help=help_, allow_abbrev=False)
        action.add_argument("model", metavar=model)
        action.set_defaults(action=name)
        parsers.append(action)
    for each in parsers:
        each.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="write JSON"
        )


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Do one of them."""
    if options.action == "pull" and options.model == EMBEDDED:
        from portal.runtime.cli.weights import pull

        return pull(options, terminal)
    settings = load_settings(options, terminal).settings
    match options.action:
        case "list" | "show":
            models = asyncio.run(_models(settings))
            return _tell(options, models, terminal)
        case "pull":
            asyncio.run(_pull(options, settings, terminal))
        case action:
            asyncio.run(_change(action, options.model, settings))
            if options.json:
                terminal.json({"model": options.model, "done": DONE[action]})
            else:
                terminal.say(f"{options.model} is {DONE[action]}.")
    return 0


def _tell(options: argparse.Namespace, models: "Sequence[ModelEntry]", terminal: Terminal) -> int:
    from portal.runtime.cli.model_words import find_entry, list_lines, show_lines

    if options.action == "list":
        if options.json:
            terminal.json({"data": models})
        else:
            for line in list_lines(models):
                terminal.say(line)
        return 0
    found = find_entry(options.model, models)
    if isinstance(found, str):
        terminal.fault(found)
        return 1
    if options.json:
        terminal.json(found)
    else:
        for line in show_lines(found):
            terminal.say(line)
    return 0


async def _models(settings: "Settings") -> "Sequence[ModelEntry]":
    from portal.runtime.cli.door import open_door

    async with open_door(settings) as door:
        return await door.models()


async def _pull(options: argparse.Namespace, settings: "Settings", terminal: Terminal) -> None:
    """Show a download to its end. Cancelled by Ctrl-C, it ends on the backend too."""
    from portal.runtime.cli.door import open_door
    from portal.runtime.cli.progress import view_for

    view = view_for(terminal, as_json=options.json)
    async with open_door(settings) as door:
        try:
            async with contextlib.aclosing(door.pull(options.model)) as steps:
                async for step in steps:
                    view.step(step)
        finally:
            view.end()
    if not options.json:
        terminal.say(f"{options.model} is there.")


async def _change(action: str, model: str, settings: "Settings") -> None:
    from portal.runtime.cli.door import open_door

    async with open_door(settings) as door:
        match action:
            case "remove":
                await door.remove(model)
            case "load":
                await door.load(model)
            case _:
                await door.unload(model)
