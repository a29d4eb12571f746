"""GET /portal/functions: list every function, with its trigger and scope."""

from typing import Protocol

import msgspec

from portal.shared.contract import Route, Scope
from portal.shared.models import FunctionInfo
from portal.shared.ports import HasDocumentation

ROUTE = Route("GET", "/portal/functions", Scope.CHAT)


class Request(msgspec.Struct, frozen=True):
    """Nothing to say."""


class Needs(HasDocumentation, Protocol):
    """The catalogue."""


class FunctionList(msgspec.Struct, frozen=True):
    """All of them, by name."""

    data: list[FunctionInfo]
    next_cursor: str | None = None


async def handle(request: Request, context: Needs) -> FunctionList:
    return FunctionList(list(context.documentation.functions()))
