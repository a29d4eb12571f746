"""GET /favicon.ico: the page's icon, where browsers look for one unasked."""

from typing import Protocol

from portal.shared.contract import RawReply, RawRequest, Route, Scope
from portal.shared.ports import HasPages

ROUTE = Route("GET", "/favicon.ico", Scope.PUBLIC)


class Needs(HasPages, Protocol):
    """All that this function may touch."""


async def handle(request: RawRequest, context: Needs) -> RawReply:
    """Answer with the SVG, which every current browser takes as an icon."""
    asset = context.pages.asset("icon.svg")
    headers = (
        (b"content-type", asset.media_type.encode()),
        (b"cache-control", b"public, max-age=86400"),
        (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    )
    return RawReply(200, headers, asset.body)
