"""The tables of `docs/classifier.md`: `python -m tests.prompts.report --write` renews them.

Without `--write` it prints them. With `--wrong SPLIT` it names the prompts that go elsewhere than
they should: to be used on `tune` and `fresh` alone, since `held` counts only while nobody looks.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import get_args

from portal.shared.decisions import Category
from tests.bench.report import table
from tests.checkout import ROOT
from tests.doc_tables import Table, renewed
from tests.prompts import (
    ROUTES,
    Judged,
    Prompt,
    category_accuracy,
    complexity_accuracy,
    confusion,
    judged,
    labelled,
    precision,
    recall,
    route_accuracy,
)

PAGE = "docs/classifier.md"
BANDS = ((0.0, 0.65), (0.65, 0.75), (0.75, 0.85), (0.85, 1.01))


def quality_table() -> str:
    """Sum up each part of the set."""
    rows = [
        (name, str(len(found)), *map(_percent, _figures(found)))
        for name, found in (
            ("tuned on", _of(lambda each: each.split == "tune")),
            ("held back", _of(lambda each: each.split == "held")),
            ("held back, without images", _of(_held_blind)),
            ("written afterwards", _of(lambda each: each.split == "fresh")),
            ("traps, of all parts", _of(lambda each: bool(each.trap))),
        )
    ]
    return _table(("prompts", "number", "route", "category", "complexity", "within one"), rows)


def confusion_table() -> str:
    """Show where the held-back prompts are sent."""
    rows = _of(lambda each: each.split == "held")
    counts = confusion(rows)
    lines = [
        (
            route,
            *(str(counts[route, sent]) for sent in ROUTES),
            _percent(recall(rows, route)),
            _percent(precision(rows, route)),
        )
        for route in ROUTES
    ]
    head = ("belongs to", *(f"sent to {route}" for route in ROUTES), "recall", "precision")
    return _table(head, lines)


def categories_table() -> str:
    """Show how well each category of the held-back prompts is found."""
    rows = _of(lambda each: each.split == "held")
    lines = []
    for category in get_args(Category):
        belongs = [row for row in rows if row.prompt.category == category]
        said = [row for row in rows if row.found.category == category]
        right = sum(row.prompt.category == category for row in said)
        others = sorted({row.found.category for row in belongs} - {category})
        share = _percent(right / len(belongs) if belongs else 1.0)
        exact = _percent(right / len(said) if said else 1.0)
        lines.append((category, str(len(belongs)), share, exact, ", ".join(others)))
    return _table(("category", "number", "recall", "precision", "taken for"), lines)


def confidence_table() -> str:
    """Show how often the route is right, by how sure the classifier was; all prompts."""
    rows = _of(lambda _: True)
    lines = []
    for least, below in BANDS:
        band = [row for row in rows if least <= row.found.confidence < below]
        name = f"{least:.2f} to {min(below, 1.0):.2f}"
        lines.append((name, str(len(band)), _percent(route_accuracy(band))))
    return _table(("confidence", "number", "route right"), lines)


TABLES = (
    Table(PAGE, "quality", quality_table),
    Table(PAGE, "confusion", confusion_table),
    Table(PAGE, "categories", categories_table),
    Table(PAGE, "confidence", confidence_table),
)


def main(words: Sequence[str] | None = None) -> int:
    """Print the tables, write them, or name what goes wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.prompts.report", description=__doc__)
    parser.add_argument("--write", action="store_true", help="renew the page")
    parser.add_argument("--wrong", choices=("tune", "fresh"), help="name what goes elsewhere")
    options = parser.parse_args(words)
    if options.wrong:
        for row in _of(lambda each: each.split == options.wrong):
            if row.route != row.prompt.route:
                text = row.prompt.text.replace("\n", " ")[:90]
                print(f"{row.prompt.id}: {row.prompt.route}, sent to {row.route}: {text}")
        return 0
    page = ROOT / PAGE
    text = page.read_text(encoding="utf-8")
    for each in TABLES:
        text = renewed(each, text)
        print(f"{each.make()}\n")
    if options.write:
        page.write_text(text, encoding="utf-8")
    return 0


def _of(wanted: Callable[[Prompt], bool]) -> list[Judged]:
    return judged(prompt for prompt in labelled() if wanted(prompt))


def _held_blind(prompt: Prompt) -> bool:
    return prompt.split == "held" and not prompt.image


def _figures(rows: Sequence[Judged]) -> Iterable[float]:
    yield route_accuracy(rows)
    yield category_accuracy(rows)
    yield complexity_accuracy(rows)
    yield complexity_accuracy(rows, within=1)


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(table(head, rows))


if __name__ == "__main__":
    sys.exit(main())
