"""DELETE /api/{path:path}: pass on to Ollama what Portal has no path of its own for."""

from typing import Protocol

from portal.shared.contract import RawReply, RawRequest, Route, Scope, Stream
from portal.shared.ollama_place import NeedsOllama, check_owner, pass_on

ROUTE = Route("DELETE", "/api/{path:path}", Scope.ADMIN)


class Needs(NeedsOllama, Protocol):
    """Ollama itself."""


async def handle(request: RawRequest, context: Needs) -> RawReply | Stream:
    check_owner(context.call, request)
    return await pass_on(context, request, changes=True)
