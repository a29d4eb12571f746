"""What went wrong with a backend, in words for the person who runs it."""

import datetime as dt
import email.utils
from collections.abc import Iterable

import httpx
import msgspec

from portal.shared.errors import (
    BackendBroken,
    BackendBusy,
    BackendError,
    BackendRefused,
    BackendTimeout,
    BackendUnreachable,
)

MESSAGE_LIMIT = 500
"""Most characters of a backend's own message that are passed on."""


def explain(error: httpx.HTTPError, *, name: str, address: str) -> BackendError:
    """Turn an exception of the transport into Portal's; `address` is without credentials."""
    where = f"The backend {name!r} at {address}"
    cause = str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        hint = "Is it running, and is its url right?"
        if "CERTIFICATE" in cause.upper():
            hint = "Its certificate is not trusted by this machine, or is for another name."
        elif "SSL" in cause.upper():
            hint = "Does it speak https? If not, its url starts with http://."
        return BackendUnreachable(f"{where} cannot be reached: {cause}. {hint}", backend=name)
    if isinstance(error, httpx.PoolTimeout):
        return BackendBusy(
            f"{where} is busy: {cause}. Try again later, or raise its max_connections.",
            backend=name,
        )
    if isinstance(error, httpx.TimeoutException):
        return BackendTimeout(
            f"{where} is too slow: {cause}. A smaller model or a shorter prompt answers sooner; "
            "the limits are settings of this backend.",
            backend=name,
        )
    return BackendBroken(
        f"{where} gave no whole answer: {cause}. Its own log may tell why.", backend=name
    )


def refused(
    status: int,
    headers: Iterable[tuple[bytes, bytes]],
    body: bytes,
    *,
    name: str,
    address: str,
    secret: str | None = None,
) -> BackendRefused:
    """Make the error of an answer that is not a success, in the backend's own words.

    `secret` is struck out of them: servers like to quote the key that they refuse.
    """
    found = dict(headers)
    message = message_in(body.replace(secret.encode(), b"[key]") if secret else body)
    if 300 <= status < 400 and b"location" in found:
        message = "it redirects, which is not followed: put the final address into its url"
    elif not message:
        message = "it gives no reason"
    return BackendRefused(
        f"The backend {name!r} at {address} answered {status}: {message}",
        backend=name,
        status=status,
        retry_after=_seconds(found.get(b"retry-after", b"")),
    )


def message_in(body: bytes) -> str:
    """Find the sentence in an error body, in any of the shapes that servers use."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body.decode("utf-8", "replace").strip()[:MESSAGE_LIMIT]
    return words_of(found)


def words_of(found: object) -> str:
    """Find the sentence in a decoded error; its JSON where it has none."""
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and key in found:
            found = found[key]
    text = found if isinstance(found, str) else msgspec.json.encode(found).decode()
    return text.strip()[:MESSAGE_LIMIT]


def _seconds(retry_after: bytes) -> float | None:
    """Read a Retry-After header: seconds, or a date; None where it is neither."""
    text = retry_after.decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        date = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=dt.UTC)
    return max(0.0, (date - dt.datetime.now(dt.UTC)).total_seconds())
