"""Who may come in: Host, Origin and Sec-Fetch rules, and the caller behind a key or a cookie.

Decides from a request's head alone, before any body is read. Holds no state but the keys of one
configuration; page sessions are asked of their own store.
"""

import hmac
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from portal.runtime.ops.exposure import is_loopback, key_required
from portal.runtime.ops.schema import Settings
from portal.shared.contract import Caller, Scope
from portal.shared.errors import Forbidden, Unauthenticated, WrongMediaType

LOCAL = Caller("local", "none", frozenset({Scope.PUBLIC, Scope.CHAT}))
STRANGER = Caller("", "none", frozenset({Scope.PUBLIC}))
EVERYTHING = frozenset(Scope) - {Scope.WEBHOOK}
CHAT_ONLY = frozenset({Scope.PUBLIC, Scope.CHAT})
SESSION_COOKIE = "portal_session"
HOST = re.compile(r"[A-Za-z0-9._~-]+(:\d*)?|\[[0-9A-Fa-f:.]+\](:\d*)?")
ALWAYS_OPEN = "/health/live"
"""The one path besides the webhooks that answers a stranger behind a tunnel."""

FORWARDING = frozenset(
    b"forwarded x-forwarded x-real-ip x-original-forwarded-for x-original-host "
    b"x-cluster-client-ip x-client-ip true-client-ip cf-connecting-ip fly-client-ip via".split()
)


class Headers(Mapping[str, str]):
    """A request's headers as text, decoded when asked for: most of them never are.

    Names are in lower case; repeated ones are joined by a comma.
    """

    __slots__ = ("_raw",)

    def __init__(self, raw: Sequence[tuple[bytes, bytes]]) -> None:
        self._raw = dict(raw)
        if len(self._raw) < len(raw):
            self._raw = {}
            for name, value in raw:
                before = self._raw.get(name)
                self._raw[name] = value if before is None else b"%b, %b" % (before, value)

    def __getitem__(self, name: str) -> str:
        return self._raw[name.encode("latin-1", "replace")].decode("latin-1")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.encode("latin-1", "replace") in self._raw

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._raw)

    def __len__(self) -> int:
        return len(self._raw)

    def get(self, name: str, default: Any = None) -> Any:
        found = self._raw.get(name.encode("latin-1", "replace"))
        return default if found is None else found.decode("latin-1")

    @property
    def forwarded(self) -> bool:
        """Whether a proxy or tunnel has left its marks."""
        raw = self._raw
        return not FORWARDING.isdisjoint(raw) or b"\nx-forwarded-" in b"\n" + b"\n".join(raw)


class Head(msgspec.Struct):
    """A request's head, read once; `caller` is None where no valid credential came."""

    headers: Mapping[str, str]
    caller: Caller | None
    forwarded: bool
    """It came through a tunnel or proxy, so the port is open to more than this machine."""


class Key(msgspec.Struct, frozen=True):
    """A secret and whom it stands for."""

    secret: bytes
    caller: Caller


class Gate:
    """Admits requests under one configuration."""

    def __init__(
        self,
        settings: Settings,
        *,
        owner_token: str | None,
        session_caller: Callable[[str], Caller | None],
    ) -> None:
        self._required = key_required(settings)
        self._session_caller = session_caller
        self._keys: list[Key] = []
        if owner_token:
            self._add(owner_token, Caller("local", "owner", EVERYTHING))
        if settings.auth.api_key:
            self._add(settings.auth.api_key, Caller("local", "api_key", EVERYTHING))
        if settings.router_token:
            self._add(settings.router_token, Caller("local", "router_token", CHAT_ONLY))
        self._names = frozenset(
            name.lower().strip("[]")
            for name in (settings.server.host, *settings.server.allowed_hosts)
        )

    def _add(self, secret: str, caller: Caller) -> None:
        self._keys.append(Key(secret.encode(), caller))

    def admit(self, method: str, raw: Sequence[tuple[bytes, bytes]]) -> Head:
        """Read a head and apply every rule that does not depend on the route. Raises Forbidden."""
        headers = Headers(raw)
        origin = headers.get("origin")
        if origin is not None:
            self._check_origin(origin, headers.get("host", ""))
        if headers.get("sec-fetch-site") == "cross-site":
            raise Forbidden("Another web site may not call Portal (Sec-Fetch-Site: cross-site).")
        caller = self._bearer(headers.get("authorization"))
        if caller is None:
            caller = self._cookie(method, headers)
        if caller is None:
            self._check_host(headers.get("host"))
        return Head(headers, caller, headers.forwarded)

    def caller_for(self, head: Head, scope: Scope, path: str) -> Caller:
        """Decide who calls a route of this scope. Raises Unauthenticated or Forbidden."""
        caller = head.caller
        if scope is Scope.WEBHOOK or path == ALWAYS_OPEN:
            return caller or STRANGER
        if caller is None:
            if head.forwarded or (self._required and scope is not Scope.PUBLIC):
                raise Unauthenticated(self._why(head))
            caller = STRANGER if self._required else LOCAL
        if scope is Scope.PUBLIC or caller.may(scope):
            return caller
        raise Forbidden(
            f"This needs the scope {scope.value}, and {_describe(caller)} has not got it. Use the "
            "portal command on this machine, the one-time link that `portal up` prints, or a key "
            f"of scope {scope.value}."
        )

    def _why(self, head: Head) -> str:
        sent = "authorization" in head.headers
        found = "The key sent is not known here" if sent else "No key was sent"
        reason = (
            " This request came through a proxy or tunnel, which makes the port public."
            if head.forwarded and not self._required
            else ""
        )
        return f"{found}; send `Authorization: Bearer <key>`.{reason}"

    def _bearer(self, header: str | None) -> Caller | None:
        if header is None:
            return None
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            return None
        sent = token.strip().encode("latin-1", "replace")
        found = None
        for key in self._keys:
            # Every key is compared, so that the time taken does not tell which one matched.
            if hmac.compare_digest(sent, key.secret):
                found = key.caller
        return found

    def _cookie(self, method: str, headers: Mapping[str, str]) -> Caller | None:
        jar = headers.get("cookie")
        if jar is None or SESSION_COOKIE not in jar:
            return None
        for pair in jar.split(";"):
            name, _, value = pair.strip().partition("=")
            if name != SESSION_COOKIE:
                continue
            caller = self._session_caller(value)
            if caller is None:
                continue
            own = "origin" in headers or headers.get("sec-fetch-site") == "same-origin"
            if method not in ("GET", "HEAD") and not own:
                raise Forbidden(
                    "A page session may change things only from Portal's own page: "
                    "the request has no Origin header."
                )
            return caller
        return None

    def _check_origin(self, origin: str, host: str) -> None:
        found = _origin_host(origin)
        if found is None or found != _host_port(host, origin.partition(":")[0]):
            raise Forbidden(f"The origin {origin[:200]!r} is not Portal's own page.")

    def _check_host(self, host: str | None) -> None:
        if not host:
            raise Forbidden("The request has no Host header.")
        found = _host_port(host, "http")
        name = found[0] if found else ""
        if name in self._names or is_loopback(name) or _bound_to_all(self._names, name):
            return
        raise Forbidden(
            f"The host {host[:200]!r} is not one of this server's names. Add it to "
            "`server.allowed_hosts`, or send a key."
        )


def check_media_type(method: str, headers: Mapping[str, str]) -> None:
    """Refuse a browser's body that is not JSON, since a form needs no permission to be sent."""
    if headers.get("content-type") == "application/json":
        return
    if method in ("GET", "HEAD") or headers.get("content-length") == "0":
        return
    if "content-length" not in headers and "transfer-encoding" not in headers:
        return
    if "origin" not in headers and not any(name.startswith("sec-fetch-") for name in headers):
        return
    found = headers.get("content-type", "").partition(";")[0].strip().lower()
    if found != "application/json" and not found.endswith("+json"):
        raise WrongMediaType(
            f"The Content-Type is {found[:80] or 'missing'}; a browser must send application/json."
        )


def _describe(caller: Caller) -> str:
    return "a caller without a key" if caller.key == "none" else f"the key {caller.key!r}"


def _host_port(host: str, scheme: str) -> tuple[str, int] | None:
    """Split a Host header; None where it is none, such as with a path or a user in it."""
    if not HOST.fullmatch(host):
        return None
    try:
        parts = urlsplit(f"//{host}")
        name, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    return name.rstrip("."), port or (443 if scheme == "https" else 80)


def _origin_host(origin: str) -> tuple[str, int] | None:
    scheme, separator, rest = origin.partition("://")
    if not separator or scheme not in ("http", "https"):
        return None
    return _host_port(rest, scheme)


def _bound_to_all(names: frozenset[str], name: str) -> bool:
    """Bound to every address, any address of the machine is a bound one; a name is not."""
    if not names & {"0.0.0.0", "::"}:  # noqa: S104 — compared, not bound
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
