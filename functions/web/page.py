"""GET /: the web page, which talks to Portal alone."""

from typing import Protocol

from portal.shared.contract import RawReply, RawRequest, Route, Scope
from portal.shared.ports import HasPages

ROUTE = Route("GET", "/", Scope.PUBLIC)

POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing inline and nothing from elsewhere: what a model writes can neither run nor call out."""


class Needs(HasPages, Protocol):
    """All that this function may touch."""


async def handle(request: RawRequest, context: Needs) -> RawReply:
    """Answer with the HTML; it holds no state, so it is the same for everybody."""
    asset = context.pages.asset("index.html")
    headers = (
        (b"content-type", asset.media_type.encode()),
        (b"content-security-policy", POLICY),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-cache"),
    )
    return RawReply(200, headers, asset.body)
