"""Measure the running server against its budgets.

    python -m tests.bench [--quick] [--only ROW ...] [--json FILE] [--peer-python PATH]

Exit status: 0 all budgets met, 1 one missed or not measurable, 2 used wrongly.
"""

import argparse
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import msgspec

from tests.bench import (
    classifying,
    dead,
    gateway,
    leaving,
    memory,
    peer,
    start,
    state,
    streaming,
)
from tests.bench.figures import QUICK, BenchError, Effort, Row
from tests.bench.machine import describe, yardstick
from tests.bench.report import Report, machine_lines, missed, row_lines, yardstick_line

MEASUREMENTS: dict[str, Callable[[Effort], Row]] = {
    gateway.NAME: gateway.measure,
    streaming.NAME: streaming.measure,
    memory.NAME: memory.measure,
    start.NAME: start.measure,
    dead.NAME: dead.measure,
    leaving.NAME: leaving.measure,
    classifying.NAME: classifying.measure,
    state.NAME: state.measure,
}


def main() -> int:
    """Measure what was asked for, print each row as it is known, and say what was missed."""
    names = (*MEASUREMENTS, peer.NAME)
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer repetitions, rougher figures")
    add(
        "--only",
        nargs="+",
        choices=names,
        metavar="ROW",
        default=names,
        help=f"measure only these: {', '.join(names)}",
    )
    add("--json", type=Path, metavar="FILE", help="write all samples there too")
    add(
        "--peer-python",
        type=Path,
        metavar="PATH",
        help="the Python of an environment that has litellm[proxy]",
    )
    options = parser.parse_args()
    # The default would leave the servers behind; as an exception it passes every clean-up.
    signal.signal(signal.SIGTERM, _terminated)

    effort = QUICK if options.quick else Effort()
    machine = describe()
    say(f"Portal benchmarks, {datetime.now(UTC):%d %b %Y}{', quick' if options.quick else ''}")
    say(*machine_lines(machine))
    rows = []
    for name in names:
        if name not in options.only:
            continue
        row = measured(name, effort, options.peer_python)
        rows.append(row)
        say(*row_lines(row))
    say("", yardstick_line("after", yardstick()))
    if options.json is not None:
        report = Report(
            datetime.now(UTC).isoformat(timespec="seconds"), options.quick, machine, tuple(rows)
        )
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    faults = missed(rows)
    say("", *(f"missed: {fault}" for fault in faults) if faults else ("All budgets were met.",))
    return 1 if faults else 0


def measured(name: str, effort: Effort, peer_python: Path | None) -> Row:
    """Take one measurement; a failure becomes a row that says so."""
    try:
        if name == peer.NAME:
            return peer.measure(effort, peer_python)
        return MEASUREMENTS[name](effort)
    except (BenchError, AssertionError, OSError) as error:
        return Row(name, name, failure=f"{type(error).__name__}: {error}")


def say(*lines: str) -> None:
    """Print lines at once."""
    for line in lines:
        print(line, flush=True)


def _terminated(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
