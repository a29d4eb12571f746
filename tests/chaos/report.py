"""The table of a run, for people and for docs/resilience.md."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.report import table
from tests.chaos.run import Result, Row
from tests.chaos.stage import LIMITS
from tests.checkout import ROOT

PAGE = Path("docs/resilience.md")
START = "<!-- chaos: begin -->"
END = "<!-- chaos: end -->"
HEAD = (
    "the backend",
    "requests",
    "workspaces answered",
    "failures by code",
    "longest, of its limit",
    "back after",
    "/health p99",
    "verdict",
)


def cells(row: Row) -> tuple[str, ...]:
    """Write one scenario."""
    return (
        f"{row.fault}: {row.hurt}",
        f"{row.requests:,}",
        f"{row.workspaces_answered} of {row.workspaces_asked}",
        row.failures,
        f"{row.slowest:.1f} s, {row.slowest_share:.0%}",
        f"{row.back:.1f} s" if row.back else "-",
        f"{row.health_p99 * 1000:.0f} ms",
        f"{len(row.faults)} wrong" if row.faults else "held",
    )


def lines(result: Result) -> list[str]:
    """Lay out a whole run."""
    rows = result.rows
    requests = sum(row.requests for row in rows)
    text = [
        f"{datetime.now(UTC):%d %b %Y}, {result.clients} clients, {requests:,} requests.",
        "",
        *table(HEAD, [cells(row) for row in rows]),
        "",
        f"Longer than their limit: {sum(row.over for row in rows)} requests. Clients that left in",
        f"the middle: {sum(row.left for row in rows):,}. Portal's memory:",
        f"{result.memory_before:.0f} MiB after the first scenario, {result.memory_after:.0f} MiB",
        f"after the last; connections that it keeps: {result.connections}.",
        f"A model has to be back {LIMITS.back:.1f} s after a fault's end.",
    ]
    if result.wrong:
        text += ["", *(f"- {each}" for each in result.wrong)]
    return text


def write(result: Result, page: Path = ROOT / PAGE) -> None:
    """Put a run into the page, in place of the one before."""
    page.write_text(renewed(page.read_text(encoding="utf-8"), lines(result)), encoding="utf-8")


def renewed(text: str, new: Sequence[str]) -> str:
    """Replace what lies between the two markers. Raises ValueError where they are missing."""
    head, start, rest = text.partition(START)
    _, end, tail = rest.partition(END)
    if not start or not end:
        raise ValueError(f"the page lacks {START} or {END}")
    return "\n".join([f"{head}{START}", "", *new, "", f"{END}{tail}"])
