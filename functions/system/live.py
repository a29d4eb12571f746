"""GET /health/live: tell that the process answers at all."""

from typing import Literal, Protocol

import msgspec

from portal.shared.contract import Context, Route, Scope

ROUTE = Route("GET", "/health/live", Scope.PUBLIC)


class Request(msgspec.Struct, frozen=True):
    """Nothing to say."""


class Needs(Context, Protocol):
    """Nothing."""


class Live(msgspec.Struct, frozen=True):
    """It does."""

    status: Literal["live"] = "live"


async def handle(request: Request, context: Needs) -> Live:
    return Live()
