"""The version, from the one place that states it: the installed package's metadata."""

import functools
import importlib.metadata

DISTRIBUTION = "portal-local"


@functools.cache
def version() -> str:
    """Give Portal's version, such as `1.3.0`."""
    return importlib.metadata.version(DISTRIBUTION)
