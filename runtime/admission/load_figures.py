"""What metrics and the status page show of the load."""

from collections.abc import Mapping
from typing import Literal

import msgspec

Limit = Literal["key_concurrency", "queue", "queue_seconds"]
"""The settings of `load` that refuse a request; the others make it wait."""


class BackendFigures(msgspec.Struct, frozen=True):
    """What goes on at one backend, background work included."""

    running: int
    waiting: int
    swaps: int
    """How often a model had to make room for another, since some were known to have to."""
    swaps_avoided: int
    """How many more there would have been in the order of arrival."""


class LoadFigures(msgspec.Struct, frozen=True):
    """What goes on now, and what was refused since the start."""

    running: int
    waiting: int
    rejected: Mapping[Limit, int]
    """By the setting of `load` that refused them."""
    backends: Mapping[str, BackendFigures]
