"""GET /api/version: tell the version of Ollama that clients may reckon with."""

import asyncio
from typing import Protocol

import msgspec

from portal.shared.contract import RawReply, Route, Scope
from portal.shared.errors import PortalError
from portal.shared.ollama_place import NeedsOllama, first

ROUTE = Route("GET", "/api/version", Scope.CHAT)
COMPATIBLE = "0.13.0"
"""What Portal's own answers are like where there is no Ollama."""
SECONDS = 1.0
"""Longest wait for an Ollama's own version."""


class Request(msgspec.Struct, frozen=True):
    """Nothing to say."""


class Version(msgspec.Struct):
    """Ollama's version, not Portal's."""

    version: str


class Needs(NeedsOllama, Protocol):
    """The Ollama, where there is one."""


_decode = msgspec.json.Decoder(Version).decode


async def handle(request: Request, context: Needs) -> Version:
    try:
        async with asyncio.timeout(SECONDS):
            reply = await context.gateway.forward(
                context.call,
                first(context.health.backends()),
                "GET",
                ROUTE.path,
                media_type="",
            )
        if isinstance(reply, RawReply) and reply.status == 200:
            return _decode(reply.body)
    except (PortalError, TimeoutError, msgspec.MsgspecError, UnicodeDecodeError):
        pass
    context.call.route = ""
    return Version(COMPATIBLE)
