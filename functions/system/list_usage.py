"""GET /portal/usage: list the last answers, or sum up what was used by day, user or model."""

from typing import Annotated, Protocol

import msgspec

from portal.shared.contract import Query, Route, Scope
from portal.shared.models import UsageGroup, UsageRecord, UsageSum
from portal.shared.ports import HasUsage

ROUTE = Route("GET", "/portal/usage", Scope.ADMIN)


class Request(msgspec.Struct, frozen=True):
    """The last answers, or sums of many days."""

    limit: Query[Annotated[int, msgspec.Meta(ge=1, le=1000)]] = 50
    by: Query[UsageGroup | None] = None
    """Give sums by this instead of single answers."""
    days: Query[Annotated[int, msgspec.Meta(ge=1, le=36500)]] = 30
    """Days that the sums cover, today (in UTC) among them."""


class Needs(HasUsage, Protocol):
    """The usage log."""


class UsageList(msgspec.Struct, frozen=True):
    """Single answers, newest first."""

    data: list[UsageRecord]
    next_cursor: str | None = None


class UsageSums(msgspec.Struct, frozen=True):
    """Sums, with `by`."""

    data: list[UsageSum]
    next_cursor: str | None = None


ANSWERS = UsageList


async def handle(request: Request, context: Needs) -> UsageList | UsageSums:
    if request.by is not None:
        return UsageSums(list(await context.usage.sums(request.by, days=request.days)))
    return UsageList(list(context.usage.last(request.limit)))
