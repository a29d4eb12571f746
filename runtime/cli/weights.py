"""The embedded model's weights from the command line: fetched on command, or offered at a start."""

import argparse
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from portal.runtime.backends import weights
from portal.runtime.cli import banner
from portal.runtime.cli.configuration import load_settings
from portal.runtime.cli.terminal import Terminal
from portal.runtime.ops.schema import Settings
from portal.shared.errors import ConfigurationError

DECLINED = "weights-declined"
"""A file of the state directory: the question was answered with no, and is not asked again."""


def pull(options: argparse.Namespace, terminal: Terminal) -> int:
    """Fetch the weights unless they are there, and check their digest."""
    settings = load_settings(options, terminal).settings
    found = weights.find_weights(settings.embedded, settings.state_dir)
    if found is None:
        if options.json:
            with _stdout_aside():
                weights.fetch_weights(terminal.note)
        else:
            weights.fetch_weights(terminal.say)
        found = weights.find_weights(settings.embedded, settings.state_dir)
    if found is None:
        raise ConfigurationError("The weights were fetched, and yet are not found.")
    weights.check_weights(found, settings.state_dir)
    if options.json:
        terminal.json(
            {
                "path": str(found.path),
                "model": found.facts.name,
                "size_bytes": found.size_bytes,
                "library": weights.extra_installed(),
            }
        )
        return 0
    terminal.say(f"{found.facts.name} is ready: {found.path}")
    if not weights.extra_installed():
        terminal.warn(f"the library that runs it is missing: {banner.EXTRA}")
    return 0


def offer(settings: Settings, terminal: Terminal) -> None:
    """Say what the embedded model lacks; on a terminal, offer once to fetch its weights.

    Never fails a start: without them, other backends answer.
    """
    if not settings.embedded.enabled:
        return
    try:
        found = weights.find_weights(settings.embedded, settings.state_dir)
    except ConfigurationError as error:
        terminal.warn(error.message)
        return
    if not weights.extra_installed():
        _tell(terminal, banner.no_extra(), settings)
    elif found is None and not (_may_ask(settings, terminal) and _fetch(settings, terminal)):
        _tell(terminal, banner.no_weights(weights.DOWNLOAD), settings)


@contextlib.contextmanager
def _stdout_aside() -> Iterator[None]:
    """Lead what child programs write to stdout to stderr: stdout belongs to JSON."""
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _may_ask(settings: Settings, terminal: Terminal) -> bool:
    """Ask only where somebody can answer, nothing else was configured, and once."""
    return (
        terminal.interactive
        and not settings.backends
        and not _declined(settings.state_dir).exists()
    )


def _fetch(settings: Settings, terminal: Terminal) -> bool:
    answer = terminal.ask(
        f"Fetch a small model that runs inside Portal now ({weights.DOWNLOAD})? [Y/n] "
    )
    if answer.lower() not in ("", "y", "yes"):
        _declined(settings.state_dir).touch()
        return False
    try:
        weights.fetch_weights(terminal.say)
    except ConfigurationError as error:
        terminal.fault(error.message)
        return False
    return True


def _tell(terminal: Terminal, lines: list[str], settings: Settings) -> None:
    if settings.backends:
        return  # whoever configured a backend does not miss the embedded model
    for line in lines:
        terminal.note(line)


def _declined(state_dir: Path) -> Path:
    return state_dir / DECLINED
