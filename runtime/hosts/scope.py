"""A request's head as ASGI words it. Pure."""

import re
from typing import Any
from urllib.parse import unquote

import httptools

PLAIN_PATH = re.compile(rb"/(?:[\w.~-][\w.~/-]*)?")
"""Targets that are a path and nothing else, so that no parser is needed to tell."""

ASGI = {"version": "3.0", "spec_version": "2.3"}


Headers = list[tuple[bytes, bytes]]


def http_scope(method: bytes, target: bytes, version: str, headers: Headers) -> dict[str, Any]:
    """Make the scope of a request, but for what only its connection knows.

    Raises HttpParserInvalidURLError or UnicodeDecodeError for a target that is none.
    """
    path, query = target, b""
    if not PLAIN_PATH.fullmatch(target):
        parsed = httptools.parse_url(target)
        path, query = parsed.path, parsed.query or b""
    text = path.decode("ascii")
    return {
        "type": "http",
        "asgi": ASGI,
        "http_version": version,
        "scheme": "http",
        "root_path": "",
        "method": method.decode("ascii"),
        "path": unquote(text) if "%" in text else text,
        "raw_path": path,
        "query_string": query,
        "headers": headers,
    }


def without_upgrade(method: bytes, target: bytes, version: str, headers: Headers) -> bytes:
    """Write a head as if no other protocol had been asked for."""
    lines = [b"%b %b HTTP/%b" % (method, target, version.encode())]
    lines += [b"%b: %b" % header for header in headers if header[0] != b"upgrade"]
    return b"\r\n".join((*lines, b"", b""))


def address_of(name: Any) -> tuple[str, int] | None:
    """Take host and port of a socket's name, which for IPv6 has more to it."""
    return name[:2] if isinstance(name, tuple) else None
