"""`portal doctor`: find what is wrong, and say how to put it right."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from portal.runtime.cli.terminal import Style, Terminal, clean

if TYPE_CHECKING:
    from portal.runtime.ops.findings import Finding

NAME = "doctor"
SUMMARY = "find what is wrong, and how to put it right"
DESCRIPTION = (
    "Check Python, the libraries, the port, the directories, the weights, and each backend with a "
    "real one-token answer. Exit status 1 when a fault was found."
)
READS_SETTINGS = True

STYLES: dict[str, Style] = {"ok": "green", "warn": "yellow", "fault": "red"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--json", action="store_true", help="write JSON")


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Check everything, and show each finding."""
    import asyncio

    from portal.runtime.cli.in_process import open_backends
    from portal.runtime.ops.doctor import diagnose

    findings = asyncio.run(diagnose(options.config, open_backends))
    faults = sum(finding.state == "fault" for finding in findings)
    if options.json:
        terminal.json({"ok": not faults, "findings": findings})
    else:
        _show(findings, terminal)
        terminal.say(f"\n{summary(findings)}")
    return 1 if faults else 0


def summary(findings: "Sequence[Finding]") -> str:
    """Say how many findings of each kind there are."""
    counts = {
        state: sum(finding.state == state for finding in findings) for state in ("fault", "warn")
    }
    faults = f"{counts['fault']} fault{'s' if counts['fault'] != 1 else ''}"
    warnings = f"{counts['warn']} warning{'s' if counts['warn'] != 1 else ''}"
    return f"{len(findings)} checks: {faults}, {warnings}."


def _show(findings: "Sequence[Finding]", terminal: Terminal) -> None:
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        state = terminal.styled(finding.state.ljust(5), STYLES[finding.state])
        terminal.say(f"{state}  {finding.check.ljust(width)}  {_line(finding.found)}")
        if finding.fix:
            terminal.say(f"{' ' * (width + 9)}fix: {_line(finding.fix)}")


def _line(text: str) -> str:
    """Keep a finding on its line, whatever an error's words were."""
    return clean(" ".join(text.split()))
