"""`portal compare`: the same question to several models, their answers one below the other."""

import argparse
import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from portal.runtime.cli.configuration import load_settings
from portal.runtime.cli.question import read_words
from portal.runtime.cli.terminal import Style, Terminal, clean, table

if TYPE_CHECKING:
    from portal.functions.answers.compare import Answered, Comparison
    from portal.runtime.ops.schema import Settings

NAME = "compare"
SUMMARY = "ask several models the same, and compare"
DESCRIPTION = (
    "Ask several models the same at once, and show their answers with the time and the tokens that "
    "each took. One that fails harms no other; the exit status is 1 when all failed. Asks the "
    "running Portal; without one, answers itself."
)
READS_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("question", nargs="?", help="what to ask; without it, what is piped in")
    parser.add_argument(
        "--models", metavar="A,B", default="", help="models or workspaces, separated by commas"
    )
    parser.add_argument(
        "--model", action="append", default=[], metavar="ID", help="one more; may be repeated"
    )
    parser.add_argument("--json", action="store_true", help="write JSON")


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Ask them all."""
    models = [name.strip() for name in options.models.split(",") if name.strip()] + options.model
    if not models:
        terminal.fault("No model is named; write `--models a,b`. `portal models` lists all.")
        return 2

    from portal.functions.answers.compare import MOST

    if len(models) > MOST:
        terminal.fault(f"{len(models)} models are named; at most {MOST} are asked at once.")
        return 2
    question = read_words(options.question, terminal)
    if question is None:
        return 2
    settings = load_settings(options, terminal).settings
    if terminal.redraws and not options.json:
        terminal.note(f"Asking {len(models)} at once; Ctrl-C stops them all.")
    compared = asyncio.run(_compared(models, question, settings))
    if options.json:
        terminal.json(compared)
    else:
        for line, styles in render(compared):
            terminal.say(line, *styles)
    return 1 if all(each.error for each in compared.data) else 0


async def _compared(models: list[str], question: str, settings: "Settings") -> "Comparison":
    from portal.runtime.cli.door import open_door

    async with open_door(settings, whole=True) as door:
        return await door.compare(models, question)


def render(compared: "Comparison") -> Iterator[tuple[str, tuple[Style, ...]]]:
    """Lay the answers out, and below them their figures; pure."""
    for each in compared.data:
        yield f"== {clean(each.model)}", ("bold",)
        for line in clean(each.text).strip().splitlines():
            yield line, ()
        if each.error is not None:
            yield f"failed: {clean(each.error.message)}", ("red",)
        yield "", ()
    head = ("MODEL", "ANSWERED BY", "SECONDS", "FIRST WORD", "TOKENS", "TOKENS/S")
    for line in table(head, [_figures(each) for each in compared.data]):
        yield line, ()


def _figures(each: "Answered") -> tuple[str, ...]:
    by = each.answered_by or ("failed" if each.error else "")
    if each.first_token_seconds is None or each.usage is None:
        return each.model, by, f"{each.seconds:.2f}" if each.seconds else "", "", "", ""
    usage, writing = each.usage, each.seconds - each.first_token_seconds
    about = "about " if usage.estimated else ""
    return (
        each.model,
        by,
        f"{each.seconds:.2f}",
        f"{each.first_token_seconds:.2f}",
        f"{about}{usage.input_tokens} + {usage.output_tokens}",
        # The first one was written before the clock of writing began.
        f"{(usage.output_tokens - 1) / writing:.0f}" if writing > 0 else "",
    )
