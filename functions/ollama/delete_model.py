"""DELETE /api/delete: delete a model from the Ollama that has it."""

from typing import Protocol

from portal.shared.contract import RawReply, RawRequest, Route, Scope, Stream
from portal.shared.ollama_place import NeedsOllama, pass_on

ROUTE = Route("DELETE", "/api/delete", Scope.ADMIN)


class Needs(NeedsOllama, Protocol):
    """Ollama itself."""


async def handle(request: RawRequest, context: Needs) -> RawReply | Stream:
    return await pass_on(context, request, changes=True)
