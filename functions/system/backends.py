"""GET /portal/backends: list the backends, with their states and addresses."""

from typing import Protocol

import msgspec

from portal.shared.contract import Route, Scope
from portal.shared.models import BackendStatus
from portal.shared.ports import HasHealth

ROUTE = Route("GET", "/portal/backends", Scope.ADMIN)


class Request(msgspec.Struct, frozen=True):
    """Nothing to say."""


class Needs(HasHealth, Protocol):
    """The health report."""


class BackendList(msgspec.Struct, frozen=True):
    """All of them, in their order."""

    data: list[BackendStatus]
    next_cursor: str | None = None


async def handle(request: Request, context: Needs) -> BackendList:
    return BackendList(list(context.health.backends()))
