"""The head of a relayed answer: what of it is for the client. Pure."""

from portal.runtime.backends.backend import Headers, Reply

NOT_RELAYED = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding "
    b"upgrade content-length date server set-cookie x-request-id alt-svc clear-site-data "
    b"strict-transport-security x-content-type-options".split()
)
"""Headers that belong to one connection, or speak for the server that set them."""


def split_head(reply: Reply) -> tuple[str, Headers]:
    """Split the media type, empty if there is none, from the other headers for the client."""
    media_type = ""
    kept = []
    named: list[bytes] = []
    for name, value in reply.headers:
        if name == b"content-type":
            media_type = value.decode("latin-1")
        elif name == b"connection":
            named += [each.strip() for each in value.lower().split(b",")]
        elif name not in NOT_RELAYED and not name.startswith((b"access-control-", b"x-portal-")):
            kept.append((name, value))
    return media_type, tuple((name, value) for name, value in kept if name not in named)


def typed(media_type: str, headers: Headers) -> Headers:
    """Put the media type, where there is one, back among the headers."""
    if not media_type:
        return headers
    return ((b"content-type", media_type.encode("latin-1")), *headers)
