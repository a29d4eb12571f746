"""POST /portal/stop: end Portal in order."""

from typing import Protocol

import msgspec

from portal.shared.contract import Route, Scope
from portal.shared.ports import HasControl

ROUTE = Route("POST", "/portal/stop", Scope.ADMIN)


class Request(msgspec.Struct, frozen=True):
    """Nothing to say."""


class Needs(HasControl, Protocol):
    """The switch of the process."""


class Stopping(msgspec.Struct, frozen=True):
    """It has begun; answers under way may end first."""

    stopping: bool = True


async def handle(request: Request, context: Needs) -> Stopping:
    context.control.stop()
    return Stopping()
