"""`portal models`: what can be asked, and the embedded model's weights."""

import argparse
import asyncio
import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from portal.runtime.cli.configuration import load_settings
from portal.runtime.cli.terminal import Terminal, table

if TYPE_CHECKING:
    from portal.shared.model_list import ModelEntry

NAME = "models"
SUMMARY = "list models, or fetch the embedded one"
DESCRIPTION = (
    "List the models of every backend, show one, or fetch the weights of the embedded model. "
    "Asks the running Portal; without one, asks the backends itself."
)
READS_SETTINGS = True
PULLABLE = ("embedded",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--json", action="store_true", help="write JSON")
    parser.set_defaults(action="list", model=None)
    actions = parser.add_subparsers(metavar="[list | show <id> | pull embedded]")
    listing = actions.add_parser("list", help="list them", allow_abbrev=False)
    listing.set_defaults(action="list")
    show = actions.add_parser("show", help="tell what is known of one", allow_abbrev=False)
    show.add_argument("model", metavar="<id>")
    show.set_defaults(action="show")
    pull = actions.add_parser("pull", help="fetch the embedded model", allow_abbrev=False)
    pull.add_argument("model", metavar="embedded", choices=PULLABLE)
    pull.set_defaults(action="pull")
    for sub in (listing, show, pull):
        sub.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="write JSON"
        )


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """List, show or fetch."""
    if options.action == "pull":
        from portal.runtime.cli.weights import pull

        return pull(options, terminal)
    models = asyncio.run(_models(options, terminal))
    if options.action == "show":
        return _show(options.model, models, terminal, as_json=options.json)
    if options.json:
        terminal.json({"data": models})
        return 0
    for line in table(("MODEL", "SIZE", "CONTEXT", "STATE"), [_row(model) for model in models]):
        terminal.say(line)
    return 0


async def _models(options: argparse.Namespace, terminal: Terminal) -> "Sequence[ModelEntry]":
    settings = load_settings(options, terminal).settings

    from portal.runtime.cli.running import find_running

    running = find_running(settings.state_dir)
    if running is not None:
        return await running.models()

    from portal.runtime.cli.in_process import look_around

    async with look_around(settings) as found:
        return await found.models()


def _show(wanted: str, models: "Sequence[ModelEntry]", terminal: Terminal, *, as_json: bool) -> int:
    matches = [model for model in models if wanted in (model.id, model.id.partition("/")[2])]
    if len(matches) != 1:
        terminal.fault(_not_one(wanted, matches, models))
        return 1
    model = matches[0]
    if as_json:
        terminal.json(model)
        return 0
    facts = model.portal
    rows = [
        ("id", model.id),
        ("kind", facts.kind),
        ("description", facts.description),
        ("backend", facts.backend),
        ("state", _state(model)),
        ("parameters", facts.parameters),
        ("quantization", facts.quantization),
        ("family", facts.family),
        ("context window", facts.context_window and f"{facts.context_window} tokens"),
        ("size on disk", facts.size_bytes and f"{facts.size_bytes / 1e9:.2f} GB"),
    ]
    for line in table(("", ""), [(name, str(value)) for name, value in rows if value])[1:]:
        terminal.say(line)
    return 0


def _not_one(wanted: str, matches: "Sequence[ModelEntry]", models: "Sequence[ModelEntry]") -> str:
    if matches:
        return f"{wanted!r} is on several backends: {', '.join(model.id for model in matches)}."
    near = difflib.get_close_matches(wanted, [model.id for model in models], n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"No model goes by the id {wanted!r}.{hint} `portal models` lists all."


def _row(model: "ModelEntry") -> tuple[str, str, str, str]:
    facts = model.portal
    if facts.kind == "workspace":
        return model.id, "", "", facts.description
    context = str(facts.context_window) if facts.context_window else ""
    return model.id, facts.parameters or "", context, _state(model)


def _state(model: "ModelEntry") -> str:
    if model.portal.kind == "workspace":
        return "always there"
    state = "live" if model.portal.live else "its backend is down"
    return f"{state}, a small model" if model.portal.embedded else state
