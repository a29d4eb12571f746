"""GET /health: tell how Portal and its backends are, a stranger only whether; 200 if degraded."""

from typing import Protocol

import msgspec

from portal.shared.contract import Route, Scope
from portal.shared.models import Health
from portal.shared.ports import HasCall, HasHealth

ROUTE = Route("GET", "/health", Scope.PUBLIC)


class Request(msgspec.Struct, frozen=True):
    """Nothing to say."""


class Needs(HasCall, HasHealth, Protocol):
    """Who asks, and the health report."""


async def handle(request: Request, context: Needs) -> Health:
    health = context.health.health()
    if context.call.caller.may(Scope.CHAT):
        return health
    return msgspec.structs.replace(health, backends=(), problems=())
