"""How much memory this machine has."""

import os


def total_memory() -> int | None:
    """Give the bytes of memory that are built in; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
