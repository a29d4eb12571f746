"""Read a request's body off ASGI: capped, and no slower than allowed, in parts and in all."""

import asyncio
from collections.abc import Mapping
from typing import Any

from litestar.types import Receive

from portal.shared.errors import InvalidRequest, SlowRequest, TooLarge, WrongMediaType

WHOLE = "portal.whole"
"""Key of a scope whose body has arrived to its end, so that reading it never waits."""

SLOWEST = 1024
"""Bytes a second that a body must come to on average once its first pause has passed.

Twice what Apache asks for by default: slow lines pass, a body that drips to hold its place does
not.
"""


class ClientLeft(Exception):
    """The client closed the connection before its request was complete."""


async def read_body(
    receive: Receive, headers: Mapping[str, str], *, limit: int, pause: float, whole: bool
) -> bytes:
    """Return the whole body, which must not be compressed.

    Raises WrongMediaType, TooLarge, SlowRequest, InvalidRequest or ClientLeft.

    `limit` is in bytes, `pause` the longest silence in seconds; in all, a body may take `pause`
    and a second for each KiB that has come. `whole`: it is known to be there. A declared length
    over the limit is refused before anything is read.
    """
    declared = headers.get("content-length")
    if declared is None:
        if "transfer-encoding" not in headers:
            return b""
    else:
        if not declared.isascii() or not declared.isdigit():
            raise InvalidRequest(f"Content-Length is {declared[:40]!r}, expected a whole number.")
        if declared.strip("0") == "":
            return b""
        if len(declared) > 18 or int(declared) > limit:
            raise _too_large(limit)
    if "content-encoding" in headers:
        _check_encoding(headers["content-encoding"])
    if whole:
        message: Any = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
    else:
        message = await _next(receive, pause)
    if not message.get("more_body"):
        body: bytes = message["body"]
        if len(body) > limit:
            raise _too_large(limit)
        return body
    loop = asyncio.get_running_loop()
    latest = loop.time() + pause
    parts = [message["body"]]
    size = len(parts[0])
    while message.get("more_body"):
        left = latest + size / SLOWEST - loop.time()
        if left <= 0:
            raise SlowRequest(f"The body comes too slowly: {size} bytes in {pause:g} s and more.")
        message = await _next(receive, min(pause, left))
        parts.append(message["body"])
        size += len(parts[-1])
        if size > limit:
            raise _too_large(limit)
    return b"".join(parts)


async def _next(receive: Receive, pause: float) -> Any:
    try:
        async with asyncio.timeout(pause):
            message: Any = await receive()
    except TimeoutError as error:
        raise SlowRequest(f"No part of the body arrived within {pause:.3g} s.") from error
    if message["type"] == "http.disconnect":
        raise ClientLeft
    return message


def _check_encoding(named: str) -> None:
    """Refuse a compressed body: decoded, a few bytes could fill the memory."""
    for encoding in named.split(","):
        if encoding.strip().lower() not in ("identity", ""):
            raise WrongMediaType(
                f"The body has Content-Encoding {named[:80]!r}, which Portal does not decode: "
                "send it uncompressed.",
                param="content-encoding",
            )


def _too_large(limit: int) -> TooLarge:
    shown = f"{limit // (1024 * 1024)} MiB" if limit >= 1024 * 1024 else f"{limit} bytes"
    return TooLarge(f"The body is larger than {shown}, the limit of this route.")
