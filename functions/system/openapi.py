"""GET /openapi.json: describe every route, from the structs that the code uses."""

from typing import Protocol

import msgspec

from portal.shared.contract import RawReply, Route, Scope
from portal.shared.ports import HasDocumentation

ROUTE = Route("GET", "/openapi.json", Scope.PUBLIC)


class Request(msgspec.Struct, frozen=True):
    """Nothing to say."""


class Needs(HasDocumentation, Protocol):
    """The catalogue."""


async def handle(request: Request, context: Needs) -> RawReply:
    return RawReply(200, ((b"content-type", b"application/json"),), context.documentation.openapi())
