"""GET /api/blobs/{digest}: ask whether an Ollama has a file; HEAD is what its clients send."""

from typing import Protocol

from portal.shared.contract import RawReply, RawRequest, Route, Scope, Stream
from portal.shared.ollama_place import NeedsOllama, pass_on

ROUTE = Route("GET", "/api/blobs/{digest}", Scope.ADMIN)


class Needs(NeedsOllama, Protocol):
    """Ollama itself."""


async def handle(request: RawRequest, context: Needs) -> RawReply | Stream:
    return await pass_on(context, request)
