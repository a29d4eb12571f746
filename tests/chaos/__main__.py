"""Hurt backends under load, and see what their users notice.

    python -m tests.chaos [--seconds N] [--clients N] [--only FAULT ...] [--json FILE] [--write]

Exit status: 0 everything held, 1 something did not, 2 used wrongly.
"""

import argparse
import asyncio
import signal
import sys
from pathlib import Path
from types import FrameType

import msgspec

from tests.chaos import report
from tests.chaos.driver import Plan
from tests.chaos.faults import FAULTS, MIXED
from tests.chaos.run import Row, run
from tests.chaos.stage import staged

ALL = (*FAULTS, MIXED)


def main() -> int:
    """Play what was asked for, print each scenario as it ends, and say what did not hold."""
    names = [fault.name for fault in ALL]
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--clients", type=int, default=50, help="how many ask at once (default: 50)")
    add("--seconds", type=float, default=3.0, help="shortest time of each fault (default: 3)")
    add("--only", nargs="+", choices=names, metavar="FAULT", default=names, help=", ".join(names))
    add("--json", type=Path, metavar="FILE", help="write the figures there too")
    add("--write", action="store_true", help=f"put the table into {report.PAGE}")
    options = parser.parse_args()
    if options.clients < 1:
        parser.error(f"--clients is {options.clients}, expected at least 1")
    # The default would leave the processes behind; as an exception it passes every clean-up.
    signal.signal(signal.SIGTERM, _terminated)
    faults = [fault for fault in ALL if fault.name in options.only]
    plan = Plan(clients=options.clients, seconds=options.seconds)
    with staged() as stage:
        result = asyncio.run(run(stage, faults, plan, _tell))
    print("", *report.lines(result), sep="\n", flush=True)
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2))
    if options.write:
        report.write(result)
    return 1 if result.wrong else 0


def _tell(row: Row) -> None:
    print(" | ".join(report.cells(row)), flush=True)
    for each in row.faults[:10]:
        print(f"    {each}", flush=True)


def _terminated(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
