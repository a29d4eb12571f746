"""GET /assets/{name}: a file of the web page, revalidated by its ETag."""

from typing import Protocol

import msgspec

from portal.shared.contract import Header, Path, RawReply, Route, Scope
from portal.shared.ports import HasPages

ROUTE = Route("GET", "/assets/{name}", Scope.PUBLIC)


class Request(msgspec.Struct, frozen=True):
    """Which file, and which version of it the browser has."""

    name: Path[str]
    if_none_match: Header[str] = ""


class Needs(HasPages, Protocol):
    """All that this function may touch."""


async def handle(request: Request, context: Needs) -> RawReply:
    """Answer with the file, or 304 where the browser has it. Raises NotFound."""
    asset = context.pages.asset(request.name)
    headers = (
        (b"content-type", asset.media_type.encode()),
        (b"etag", asset.etag.encode()),
        # A new version of Portal must never meet an old script: ask each time, it costs a 304.
        (b"cache-control", b"no-cache"),
        (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    )
    known = {tag.strip().removeprefix("W/") for tag in request.if_none_match.split(",")}
    if asset.etag in known or "*" in known:
        return RawReply(304, headers, b"")
    return RawReply(200, headers, asset.body)
