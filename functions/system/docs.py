"""GET /docs: show every function on a page that needs no network."""

from typing import Protocol

import msgspec

from portal.shared.contract import RawReply, Route, Scope
from portal.shared.ports import HasDocumentation

ROUTE = Route("GET", "/docs", Scope.PUBLIC)
HEADERS = (
    (b"content-type", b"text/html; charset=utf-8"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"referrer-policy", b"no-referrer"),
)


class Request(msgspec.Struct, frozen=True):
    """Nothing to say."""


class Needs(HasDocumentation, Protocol):
    """The catalogue."""


async def handle(request: Request, context: Needs) -> RawReply:
    return RawReply(200, HEADERS, context.documentation.page().encode())
