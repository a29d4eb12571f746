"""GET /health/ready: tell whether requests are taken; 503 while starting or stopping."""

from typing import Protocol

import msgspec

from portal.shared.contract import RawReply, Route, Scope
from portal.shared.ports import HasHealth

ROUTE = Route("GET", "/health/ready", Scope.PUBLIC)

_encode = msgspec.json.Encoder().encode


class Request(msgspec.Struct, frozen=True):
    """Nothing to say."""


class Needs(HasHealth, Protocol):
    """The health report."""


class Readiness(msgspec.Struct, frozen=True):
    """A backend that is missing does not make Portal unready: it still answers, and says so."""

    ready: bool


ANSWERS = Readiness


async def handle(request: Request, context: Needs) -> RawReply:
    ready = context.health.health().ready
    return RawReply(
        200 if ready else 503,
        ((b"content-type", b"application/json"),),
        _encode(Readiness(ready)),
    )
