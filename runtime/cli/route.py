"""`portal route`: which model would answer a question, and why; nothing is run."""

import argparse
import asyncio
from typing import TYPE_CHECKING

from portal.runtime.cli.configuration import load_settings
from portal.runtime.cli.question import read_words
from portal.runtime.cli.terminal import Terminal, table

if TYPE_CHECKING:
    from portal.runtime.ops.schema import Settings
    from portal.shared.decisions import Classification, Decision
    from portal.shared.route_request import RouteQuestion

NAME = "route"
SUMMARY = "explain which model would answer a question, and why"
DESCRIPTION = (
    "Explain which models would be tried for a question, in which order and why, and which were "
    "passed over; no model answers it. Without a question, what is piped in is it. Asks the "
    "running Portal; without one, looks at the backends itself."
)
READS_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("question", nargs="?", help="what would be asked")
    parser.add_argument(
        "--model", default="auto", help="a workspace, persona or model id (default: auto)"
    )
    parser.add_argument("--image", action="store_true", help="as if an image came with it")
    parser.add_argument("--tools", action="store_true", help="as if the client offered tools")
    parser.add_argument("--json", action="store_true", help="write JSON")


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Explain."""
    text = read_words(options.question, terminal)
    if text is None:
        return 2
    settings = load_settings(options, terminal).settings

    from portal.shared.route_request import RouteQuestion

    question = RouteQuestion(
        options.model,
        text,
        images=[{}] if options.image else None,
        tools=[{}] if options.tools else None,
    )
    decision = asyncio.run(_explained(question, settings))
    if options.json:
        terminal.json(decision)
        return 0
    for line in render(decision):
        terminal.say(line)
    return 0


async def _explained(question: "RouteQuestion", settings: "Settings") -> "Decision":
    from portal.runtime.cli.door import open_door

    async with open_door(settings) as door:
        return await door.route(question)


def render(decision: "Decision") -> list[str]:
    """Word a decision for a person; pure."""
    found = decision.classification
    rows = [
        ("answered by", decision.candidates[0].name),
        ("because", decision.reason),
        ("asked", decision.requested),
        ("workspace", "" if decision.workspace == decision.requested else decision.workspace),
        ("rule", decision.rule),
        ("@model", decision.override),
        ("strategy", decision.strategy),
        *(() if found is None else _classified(found)),
    ]
    lines = table(("", ""), [(name, value) for name, value in rows if value])[1:]
    candidates = [
        (
            str(place),
            each.name,
            "" if each.score is None else f"{each.score:.2f}",
            each.reason,
        )
        for place, each in enumerate(decision.candidates, 1)
    ]
    lines += ["", *table(("", "TRIED IN TURN", "SCORE", "WHY"), candidates)]
    if decision.passed_over:
        passed = [(each.model, each.reason) for each in decision.passed_over]
        lines += ["", *table(("PASSED OVER", "WHY"), passed)]
    return lines


def _classified(found: "Classification") -> list[tuple[str, str]]:
    by = "a model" if found.by == "model" else "rules"
    return [
        ("question", f"{found.complexity} {found.category}, {found.confidence:.0%} sure, by {by}"),
        ("told by", ", ".join(found.signals)),
        ("calls for", ", ".join(found.needs)),
        ("tokens", f"{found.tokens} at most"),
    ]
