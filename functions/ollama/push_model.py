"""POST /api/push: let an Ollama upload a model to its registry."""

from typing import Protocol

from portal.shared.contract import RawReply, RawRequest, Route, Scope, Stream
from portal.shared.ollama_place import NeedsOllama, pass_on

ROUTE = Route("POST", "/api/push", Scope.ADMIN)


class Needs(NeedsOllama, Protocol):
    """Ollama itself."""


async def handle(request: RawRequest, context: Needs) -> RawReply | Stream:
    return await pass_on(context, request)
