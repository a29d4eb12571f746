"""What the doctor says of one thing: how it is, what was found, and what would put it right."""

from collections.abc import Awaitable, Sequence
from typing import Literal

import msgspec

from portal.shared.errors import PortalError


class Finding(msgspec.Struct, frozen=True):
    """One line of the diagnosis."""

    check: str
    state: Literal["ok", "warn", "fault"]
    """`fault`: something will not work. `warn`: it works, and could be better."""
    found: str
    fix: str = ""
    """What to do; empty when nothing has to be."""


def ok(check: str, found: str) -> Finding:
    """Say that all is well."""
    return Finding(check, "ok", found)


def warn(check: str, found: str, fix: str) -> Finding:
    """Say what could be better, and how."""
    return Finding(check, "warn", found, fix)


def fault(check: str, found: str, fix: str) -> Finding:
    """Say what does not work, and what to do."""
    return Finding(check, "fault", found, fix)


async def guarded(check: str, work: Awaitable[Sequence[Finding]]) -> list[Finding]:
    """Await a check; whatever it raises is a finding too."""
    try:
        return list(await work)
    except PortalError as error:
        return [fault(check, error.message, "put right what it names, then run the doctor again")]
    except Exception as error:  # noqa: BLE001 — a check that breaks must not end the others
        found = f"the check itself failed: {type(error).__name__}: {error}"
        return [fault(check, found, "report it with the output of `portal doctor --json`")]
