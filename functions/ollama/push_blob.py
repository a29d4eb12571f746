"""POST /api/blobs/{digest}: hand an Ollama a file to make a model of."""

from typing import Protocol

from portal.shared.contract import FILE_LIMIT, RawReply, RawRequest, Route, Scope, Stream
from portal.shared.ollama_place import NeedsOllama, pass_on

ROUTE = Route("POST", "/api/blobs/{digest}", Scope.ADMIN, max_body=FILE_LIMIT)


class Needs(NeedsOllama, Protocol):
    """Ollama itself."""


async def handle(request: RawRequest, context: Needs) -> RawReply | Stream:
    return await pass_on(context, request)
