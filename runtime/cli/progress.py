"""How far a download is: a bar that is drawn anew on a terminal, plain lines anywhere else."""

import shutil
import time
from collections.abc import Callable
from typing import Protocol

from portal.runtime.cli.terminal import Terminal, clean
from portal.shared.model_operations import PullProgress

WIDEST_BAR = 30
NARROWEST_BAR = 5
TENTHS = 10
"""Plain lines in the course of one part."""


class View(Protocol):
    """Shows the steps of one download."""

    def step(self, step: PullProgress) -> None:
        """Show where it is now."""
        ...

    def end(self) -> None:
        """End the last line, whatever came of it."""
        ...


class Bar:
    """One line for each part, drawn over itself."""

    def __init__(self, terminal: Terminal, clock: Callable[[], float] = time.monotonic) -> None:
        self._terminal = terminal
        self._clock = clock
        self._status = ""
        self._began = 0.0
        self._first = 0

    def step(self, step: PullProgress) -> None:
        """Draw the line anew, or the next one where another part begins."""
        if step.status != self._status:
            self.end()
            self._status, self._began, self._first = step.status, self._clock(), done_of(step)
        seconds = self._clock() - self._began
        rate = (done_of(step) - self._first) / seconds if seconds >= 1 else None
        columns = shutil.get_terminal_size().columns
        self._terminal.redraw(bar(step, columns - 1, rate))

    def end(self) -> None:
        """Leave the line as it is."""
        if self._status:
            self._terminal.say()
            self._status = ""


class Lines:
    """A line for each new status, and for each tenth of a part."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._last: tuple[str, int] | None = None

    def step(self, step: PullProgress) -> None:
        """Write a line where it tells something new."""
        tenth = TENTHS * done_of(step) // step.total if step.total else 0
        if (step.status, tenth) == self._last:
            return
        self._last = (step.status, tenth)
        status = clean(step.status)
        amount = f"  {percent(step):3d} %  {amount_of(step)}" if step.total else ""
        self._terminal.say(status + amount)

    def end(self) -> None:
        """Nothing is open."""


class JSONLines:
    """Each step as one line of JSON."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def step(self, step: PullProgress) -> None:
        """Write it."""
        self._terminal.json(step, pretty=False)

    def end(self) -> None:
        """Nothing is open."""


def view_for(terminal: Terminal, *, as_json: bool) -> View:
    """Choose how to show a download."""
    if as_json:
        return JSONLines(terminal)
    return Bar(terminal) if terminal.redraws else Lines(terminal)


def bar(step: PullProgress, width: int, rate: float | None = None) -> str:
    """Draw a step in at most `width` columns; `rate` is in bytes a second."""
    status = clean(step.status)
    if not step.total:
        return status[:width]
    told = f" {percent(step):3d} %  {amount_of(step)}"
    if rate is not None:
        told += f"  {rate / 1e6:.1f} MB/s"
    room = min(WIDEST_BAR, width - len(status) - len(told) - 4)
    if room < NARROWEST_BAR:
        return f"{status}{told}"[:width]
    filled = room * done_of(step) // step.total
    return f"{status}  [{'#' * filled}{'.' * (room - filled)}]{told}"


def percent(step: PullProgress) -> int:
    """Give whole percents, 100 only when all is there."""
    return 100 * done_of(step) // step.total if step.total else 0


def amount_of(step: PullProgress) -> str:
    """Say how much of how much."""
    total = step.total or 0
    unit, name = (1e9, "GB") if total >= 1e9 else (1e6, "MB")
    return f"{done_of(step) / unit:.2f} of {total / unit:.2f} {name}"


def done_of(step: PullProgress) -> int:
    """Count what is there, which is never more than all."""
    return min(step.completed or 0, step.total or 0)
