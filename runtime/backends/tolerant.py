"""Take facts out of JSON that may hold anything. Pure.

What servers tell of themselves is only partly documented and changes with their versions: a fact
of an odd type counts as not told, and never hides the others.
"""

from collections.abc import Sequence
from typing import Any, get_args

from portal.runtime.backends.failures import words_of
from portal.shared.errors import BackendBroken, BackendRefused
from portal.shared.models import Capability

LARGEST = 1 << 53
_CAPABILITIES: Sequence[Capability] = get_args(Capability)


def whole(found: Any) -> int | None:
    """Take a positive whole number of sane size, and nothing else."""
    if isinstance(found, int | float) and not isinstance(found, bool) and 0 < found < LARGEST:
        return int(found)
    return None


def words(found: Any) -> str | None:
    """Take a text that says something."""
    if isinstance(found, str) and found.strip() and found.strip().lower() != "unknown":
        return found.strip()
    return None


def mapping(found: Any) -> dict[str, Any]:
    """Take an object; an empty one for anything else."""
    return found if isinstance(found, dict) else {}


def objects(found: Any) -> list[dict[str, Any]]:
    """Take the objects of a list; nothing of anything else."""
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def rows(answer: dict[str, Any], key: str, name: str, backend: str) -> list[dict[str, Any]]:
    """Take the rows of a list of models that have a name.

    Raises BackendRefused when there is an error in its place, BackendBroken when it is no list.
    """
    found = answer.get(key)
    if found is None and "error" in answer:
        # LM Studio says so with status 200 of every path that it does not have.
        raise BackendRefused(
            f"The backend {backend!r} answered: {words_of(answer)} Is its kind right?",
            backend=backend,
            status=404,
        )
    if found is not None and not isinstance(found, list):
        raise BackendBroken(
            f"The backend {backend!r} answered with something else than a list of models. Is its "
            "kind right, and its url without a further path?",
            backend=backend,
        )
    return [row for row in objects(found) if isinstance(row.get(name), str) and row[name]]


def ordered(found: set[Capability]) -> tuple[Capability, ...]:
    """Put capabilities into their order."""
    return tuple(each for each in _CAPABILITIES if each in found)


def count_in_words(parameters: int | None) -> str | None:
    """Write a number of parameters as people do: 135M, 7.6B."""
    if not parameters:
        return None
    if parameters >= 1_000_000_000:
        return f"{parameters / 1e9:.1f}B"
    return f"{parameters / 1e6:.0f}M"


def billions(count: str | None) -> float | None:
    """Read a number of parameters as people write it; None for what is none."""
    text = (count or "").strip().upper()
    unit = {"B": 1.0, "M": 1e-3, "K": 1e-6, "T": 1e3}.get(text[-1:])
    try:
        number = float(text[:-1]) if unit else 0.0
    except ValueError:
        return None
    return round(number * unit, 6) if unit and 0 < number < LARGEST else None
