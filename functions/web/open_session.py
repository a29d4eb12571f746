"""GET /portal/session/{code}: redeem the one-time link for a page session."""

from typing import Protocol

from portal.shared.contract import RawReply, RawRequest, Route, Scope
from portal.shared.errors import Forbidden
from portal.shared.ports import HasSessions

ROUTE = Route("GET", "/portal/session/{code}", Scope.PUBLIC)

REFUSAL = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Link not valid \xe2\x80\x93 Portal</title>
<link rel="icon" href="/assets/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/assets/style.css">
<body class="plain">
<main>
<img src="/assets/icon.svg" alt="" width="48" height="48">
<h1>This link is not valid any more</h1>
<p>A link opens the page once. This one was used already, is too old, or was not copied whole.</p>
<p>For a new one, run <code>portal status</code> on the machine where Portal runs,
or restart Portal.</p>
<p><a href="/">Open the page without it</a></p>
</main>
"""


class Needs(HasSessions, Protocol):
    """All that this function may touch."""


async def handle(request: RawRequest, context: Needs) -> RawReply:
    """Set the session's cookie and go to the page. Raises Forbidden, shown to a browser as HTML."""
    privacy = ((b"cache-control", b"no-store"), (b"referrer-policy", b"no-referrer"))
    if request.method == "HEAD" or "sec-purpose" in request.headers:
        # A link checker or a prefetch looks; only a person's own click may use the link up.
        return RawReply(200, privacy, b"")
    try:
        token = context.sessions.open(request.params["code"])
    except Forbidden:
        if "text/html" not in request.headers.get("accept", ""):
            raise
        policy = (
            b"default-src 'none'; style-src 'self'; img-src 'self'; "
            b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        headers = (
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-security-policy", policy),
        )
        return RawReply(403, headers + privacy, REFUSAL)
    cookie = f"portal_session={token}; HttpOnly; SameSite=Strict; Path=/".encode("ascii")
    return RawReply(303, ((b"location", b"/"), (b"set-cookie", cookie), *privacy), b"")
