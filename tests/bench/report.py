"""Show what was measured: a Markdown table for people, JSON for programs."""

from collections.abc import Sequence

import msgspec

from tests.bench.figures import Figure, Row
from tests.bench.machine import Machine

HEAD = ("", "median", "range", "budget", "")


class Report(msgspec.Struct, frozen=True):
    """One run."""

    date: str
    quick: bool
    machine: Machine
    rows: tuple[Row, ...]


def missed(rows: Sequence[Row]) -> list[str]:
    """Name every budget that was missed and every measurement that failed."""
    found = [f"{row.name}: {row.failure}" for row in rows if row.failure]
    for row in rows:
        found += [
            f"{row.name}: {figure.name}: {number(figure.value)} {figure.unit}, "
            f"budget {number(figure.budget)} {figure.unit}"
            for figure in row.figures
            if figure.missed and figure.budget is not None
        ]
    return found


def machine_lines(machine: Machine) -> list[str]:
    """Say where and with what was measured."""
    versions = ", ".join(f"{name} {found}" for name, found in machine.versions.items())
    where = f"{machine.system}, {machine.processor}, {machine.cores} cores"
    return [
        f"{where}, {machine.memory_gib} GiB, load before {machine.load_before}",
        f"Python {machine.python}, {versions}",
        yardstick_line("before", machine.yardstick_us),
    ]


def yardstick_line(when: str, yardstick: tuple[float, float]) -> str:
    """Say how evenly this machine runs the same Python."""
    fastest, usual = yardstick
    best, rule = f"{number(fastest)} µs at best", f"{number(usual)} µs as a rule"
    return f"yardstick {when}: {best}, {rule} (nearly equal on a calm machine)"


def row_lines(row: Row) -> list[str]:
    """Lay out the figures of one row."""
    lines = ["", f"### {row.title} (`{row.name}`)", ""]
    if row.figures:
        lines += table(HEAD, [figure_cells(figure) for figure in row.figures])
    for text in (row.note, row.failure and f"FAILED: {row.failure}"):
        if text:
            lines += ["", text] if row.figures else [text]
    return lines


def figure_cells(figure: Figure) -> tuple[str, ...]:
    """Word one figure: name, value, the range of its repetitions, budget, verdict."""
    value = f"{number(figure.value)} {figure.unit}"
    spread = ""
    if len(figure.samples) > 1:
        spread = f"{number(min(figure.samples))} to {number(max(figure.samples))}"
    if figure.budget is None:
        return figure.name, value, spread, "", ""
    verdict = "MISSED" if figure.missed else "met"
    return figure.name, value, spread, f"{number(figure.budget)} {figure.unit}", verdict


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay rows out as a Markdown table: the first column to the left, the others to the right."""
    widths = [max(3, *(len(row[column]) for row in (head, *rows))) for column in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = []
    for first, *others in (head, rule, *rows):
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def number(value: float) -> str:
    """Write a number with as many digits as mean something."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}"
