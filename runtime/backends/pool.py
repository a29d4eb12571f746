"""All HTTP to one backend: its address, its key, its connections, its errors in Portal's words."""

import base64
import re
import ssl
from typing import Any, Protocol, TypeVar, cast

import httpx
import msgspec

from portal.runtime.backends.backend import Headers, Reply
from portal.runtime.backends.failures import explain, refused
from portal.runtime.backends.limits import Limits
from portal.runtime.backends.secure import SecureClient, SecureReply
from portal.runtime.backends.transport import (
    LocalTransport,
    Origin,
    check_header,
    check_request_line,
)
from portal.shared.errors import BackendBroken, BackendRefused, ConfigurationError, ShuttingDown

__all__ = ["Headers", "Limits", "Pool"]

JSON_LIMIT = 32 * 1024 * 1024
"""Longest JSON answer that is read into memory, in bytes."""
ERROR_LIMIT = 1024 * 1024
"""Longest error body that is read, in bytes."""
REQUESTS_KEPT = 256
"""Most different heads that are kept ready."""

T = TypeVar("T")

_OWN = frozenset(
    {b"accept-encoding", b"connection", b"content-length", b"host", b"transfer-encoding"}
)
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class _Head(msgspec.Struct, frozen=True):
    """What never changes between two requests of the same kind."""

    target: bytes
    headers: Headers
    start: bytes
    """The head as bytes, up to the content-length."""


class Pool:
    """The connections to one backend. Raises errors of `portal.shared.errors` only.

    `base_url` may have a path, below which every request lies, and credentials, which are sent
    but never shown. `context` replaces the certificates that https trusts.
    """

    def __init__(
        self,
        base_url: str,
        *,
        name: str = "",
        api_key: str | None = None,
        headers: Headers = (),
        max_connections: int = 64,
        limits: Limits = Limits(),  # noqa: B008 — frozen, so shared safely
        context: ssl.SSLContext | None = None,
    ) -> None:
        url = _parsed(base_url, name)
        self.address = f"{url.scheme}://{url.netloc.decode('ascii')}{url.path.rstrip('/')}"
        """Where the backend is, without credentials."""
        self.name = name or url.netloc.decode("ascii")
        self._prefix = url.raw_path.rstrip(b"/")
        self._url = url.copy_with(username="", password="")
        self._origin = Origin(url.raw_host.decode("ascii"), url.port or 80)
        self._limits = limits
        self._api_key = api_key
        self._fixed = self._fixed_headers(url, api_key, headers)
        self._heads: dict[tuple[str, str, Headers], _Head] = {}
        self._closed = False
        self._local: LocalTransport | None = None
        self._secure: SecureClient | None = None
        if url.scheme == "http":
            self._local = LocalTransport(max_connections=max_connections, limits=limits)
        else:
            self._secure = SecureClient(max_connections=max_connections, context=context)

    @property
    def active(self) -> int:
        """Requests whose answer has not ended."""
        return (self._local or cast("SecureClient", self._secure)).active

    @property
    def idle(self) -> int:
        """Connections kept open for the next request; 0 for https, which does not tell."""
        return 0 if self._local is None else self._local.idle

    async def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Headers = (),
        limits: Limits | None = None,
    ) -> Reply:
        """Send one request below the base URL; any status is an answer, to be read or closed.

        `path` starts with `/` and may have a query, percent-encoded. A body is JSON unless
        `headers` name another type. Raises BackendUnreachable, BackendTimeout or BackendBroken,
        also while the answer is read; ValueError for a header or path that cannot be sent.
        """
        head = self._heads.get((method, path, headers)) or self._prepare(method, path, headers)
        try:
            if self._local is not None:
                if body or method in _WITH_BODY:
                    start = b"%bcontent-length: %d\r\n\r\n" % (head.start, len(body))
                else:
                    start = head.start + b"\r\n"
                reply: _Translating = await self._local.exchange(self._origin, start, body, limits)
            else:
                reply = await self._exchange_securely(method, head, body, limits)
        except httpx.HTTPError as error:
            raise self._explain(error) from error
        reply.translate = self._explain
        return reply

    async def get_json(self, path: str, type_: type[T], limits: Limits | None = None) -> T:
        """GET and decode; BackendRefused for any status but 2xx, BackendBroken if malformed."""
        return await self._decoded(await self.request("GET", path, limits=limits), type_)

    async def post_json(
        self, path: str, content: Any, type_: type[T], limits: Limits | None = None
    ) -> T:
        """POST what `msgspec.json` makes of `content`, and decode the answer as `get_json` does."""
        body = msgspec.json.encode(content)
        return await self._decoded(await self.request("POST", path, body, limits=limits), type_)

    async def aclose(self) -> None:
        """Close every connection at once; answers being read raise ShuttingDown."""
        self._closed = True
        if self._local is not None:
            await self._local.aclose()
        if self._secure is not None:
            await self._secure.aclose()

    async def _decoded(self, reply: Reply, type_: type[T]) -> T:
        try:
            body = await reply.read(JSON_LIMIT)
        finally:
            await reply.aclose()
        if not 200 <= reply.status < 300:
            raise self.refused(reply, body)
        try:
            return msgspec.json.decode(body, type=type_)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BackendBroken(
                f"The backend {self.name!r} at {self.address} answered with something else than "
                f"was asked for: {error}. Is its kind right, and its url without a further path?",
                backend=self.name,
            ) from error

    async def refusal(self, reply: Reply) -> BackendRefused:
        """Read an answer that is not a success, and make the error of it."""
        try:
            return self.refused(reply, await reply.read(ERROR_LIMIT))
        finally:
            await reply.aclose()

    def refused(self, reply: Reply, body: bytes) -> BackendRefused:
        """Make the error of an answer whose body was read."""
        return refused(
            reply.status,
            reply.headers,
            body,
            name=self.name,
            address=self.address,
            secret=self._api_key,
        )

    async def _exchange_securely(
        self, method: str, head: _Head, body: bytes, limits: Limits | None
    ) -> SecureReply:
        if self._closed:
            raise httpx.ConnectError("closed")
        request = httpx.Request(
            method,
            self._url.copy_with(raw_path=head.target),
            headers=list(head.headers),
            content=body if body or method in _WITH_BODY else None,
        )
        return await cast("SecureClient", self._secure).exchange(request, limits or self._limits)

    def _prepare(self, method: str, path: str, headers: Headers) -> _Head:
        if not path.startswith("/"):
            raise ValueError(f"a path starts with /, found {path!r}")
        target = self._prefix + path.encode()
        check_request_line(method.encode(), target)
        _check_all(headers)
        lines = [*self._fixed, *headers]
        if method in _WITH_BODY and not any(name.lower() == b"content-type" for name, _ in lines):
            lines.append((b"content-type", b"application/json"))
        start = b"".join(
            [
                b"%b %b HTTP/1.1\r\n" % (method.encode(), target),
                *[b"%b: %b\r\n" % line for line in lines],
            ]
        )
        if len(self._heads) >= REQUESTS_KEPT:
            self._heads.clear()
        head = self._heads[method, path, headers] = _Head(target, tuple(lines), start)
        return head

    def _fixed_headers(self, url: httpx.URL, api_key: str | None, headers: Headers) -> Headers:
        authorization: Headers = ()
        if api_key:
            authorization = ((b"authorization", b"Bearer " + api_key.encode()),)
        elif url.userinfo:
            pair = base64.b64encode(f"{url.username}:{url.password}".encode())
            authorization = ((b"authorization", b"Basic " + pair),)
        try:
            _check_all((*authorization, *headers))
        except ValueError as error:
            raise ConfigurationError(f"The backend {self.name!r}: {error}.") from None
        return (
            (b"host", url.netloc),
            (b"accept", b"*/*"),
            # What comes is relayed byte by byte to clients that did not ask for compression.
            (b"accept-encoding", b"identity"),
            *authorization,
            *headers,
        )

    def _explain(self, error: httpx.HTTPError) -> Exception:
        if self._closed:
            return ShuttingDown(f"Portal has closed its connections to the backend {self.name!r}.")
        return explain(error, name=self.name, address=self.address)


class _Translating(Reply, Protocol):
    translate: Any


def _check_all(headers: Headers) -> None:
    for name, value in headers:
        check_header(name, value)
        if name.lower() in _OWN:
            raise ValueError(f"the header {name!r} is set by the connection itself")


def _parsed(base_url: str, name: str) -> httpx.URL:
    shown = re.sub(r"//[^/@]*@", "//", base_url)
    fault = None
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, UnicodeError) as error:
        fault = str(error)
    else:
        if url.scheme not in {"http", "https"} or not url.host:
            fault = "it must start with http:// or https:// and a host"
        elif not 0 < (url.port or 80) < 65536:
            fault = f"its port {url.port} is not within 1 and 65535"
        elif url.query or url.fragment:
            fault = "it must end with its path, without ? and #"
    if fault is not None:
        raise ConfigurationError(
            f"The backend {name!r} has the url {shown!r}: {fault}. "
            "An example: http://127.0.0.1:11434"
        )
    return url
