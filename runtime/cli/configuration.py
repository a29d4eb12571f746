"""Read the settings for a command, warnings told."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from portal.runtime.cli.terminal import Terminal

if TYPE_CHECKING:
    from portal.runtime.ops.settings import Loaded


def load_settings(
    options: argparse.Namespace,
    terminal: Terminal,
    *,
    overrides: Mapping[str, object] | None = None,
) -> "Loaded":
    """Load what `--config`, the environment and the files say. Raises ConfigurationError."""
    from portal.runtime.ops.settings import load

    loaded = load(options.config, overrides=overrides)
    for warning in loaded.warnings:
        terminal.warn(warning)
    return loaded
