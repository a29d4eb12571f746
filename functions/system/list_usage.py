"""GET /portal/usage: list the last answers, newest first: who used which model, and how much."""

from typing import Annotated, Protocol

import msgspec

from portal.shared.contract import Query, Route, Scope
from portal.shared.models import UsageRecord
from portal.shared.ports import HasUsage

ROUTE = Route("GET", "/portal/usage", Scope.ADMIN)


class Request(msgspec.Struct, frozen=True):
    """How many."""

    limit: Query[Annotated[int, msgspec.Meta(ge=1, le=1000)]] = 50


class Needs(HasUsage, Protocol):
    """The usage log."""


class UsageList(msgspec.Struct, frozen=True):
    """What is remembered since the start."""

    data: list[UsageRecord]
    next_cursor: str | None = None


async def handle(request: Request, context: Needs) -> UsageList:
    return UsageList(list(context.usage.last(request.limit)))
