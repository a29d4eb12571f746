"""`portal personas`: ways to be spoken to, each a model that can be asked."""

import argparse
import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from portal.runtime.cli.configuration import load_settings
from portal.runtime.cli.terminal import Terminal, clean, table

if TYPE_CHECKING:
    from portal.runtime.ops.schema import Settings
    from portal.shared.models import Persona

NAME = "personas"
SUMMARY = "list the personas, or show one"
DESCRIPTION = (
    "List the personas that Portal ships and your own, or show one. Each is a model: "
    "`portal chat --model persona/<id>`. Your own are YAML files in the folder `personas_dir`."
)
READS_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--json", action="store_true", help="write JSON")
    parser.set_defaults(action="list")
    actions = parser.add_subparsers(metavar="[list | show <id>]")
    listing = actions.add_parser("list", help="list them", allow_abbrev=False)
    listing.set_defaults(action="list")
    show = actions.add_parser("show", help="tell all of one", allow_abbrev=False)
    show.add_argument("id", metavar="<id>")
    show.set_defaults(action="show")
    for each in (listing, show):
        each.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="write JSON"
        )


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """List them, or show one."""
    personas = _personas(load_settings(options, terminal).settings)
    if options.action == "show":
        return _show(options.id, personas, terminal, as_json=options.json)
    if options.json:
        terminal.json({"data": personas})
        return 0
    rows = [
        (f"persona/{each.id}", each.name, "Portal" if each.shipped else "you", each.description)
        for each in personas
    ]
    for line in table(("MODEL", "NAME", "FROM", "DESCRIPTION"), rows):
        terminal.say(line)
    return 0


def _personas(settings: "Settings") -> "Sequence[Persona]":
    from portal.runtime.cli.running import find_running

    running = find_running(settings.state_dir)
    if running is not None:
        return running.personas()

    from portal.runtime.cli.in_process import list_personas

    return list_personas(settings)


def _show(wanted: str, personas: "Sequence[Persona]", terminal: Terminal, *, as_json: bool) -> int:
    found = {each.id: each for each in personas}
    persona = found.get(wanted.removeprefix("persona/"))
    if persona is None:
        near = difflib.get_close_matches(wanted, found, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        terminal.fault(f"No persona goes by the id {wanted!r}.{hint} `portal personas` lists all.")
        return 1
    if as_json:
        terminal.json(persona)
        return 0
    for line in render(persona):
        terminal.say(line)
    return 0


def render(persona: "Persona") -> list[str]:
    """Tell all of a persona; pure."""
    temperature = "" if persona.temperature is None else f"{persona.temperature:g}"
    rows = [
        ("model", f"persona/{persona.id}"),
        ("name", persona.name),
        ("description", persona.description),
        ("from", "Portal" if persona.shipped else "you"),
        ("workspace", persona.workspace),
        ("answered by", persona.model or "whom the workspace chooses"),
        ("temperature", temperature),
        ("greeting", persona.greeting),
    ]
    lines = table(("", ""), [row for row in rows if row[1]])[1:]
    lines += ["", "system prompt:", *_indented(persona.system)]
    for channel, text in persona.prompts.items():
        lines += ["", f"added on {channel}:", *_indented(text)]
    return lines


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in clean(text).splitlines()]
