"""POST /api/embeddings: turn one text into a vector, as Ollama once did it."""

from typing import Any, Protocol

import msgspec

from portal.shared.contract import Route, Scope
from portal.shared.ports import HasCall, HasModels

ROUTE = Route("POST", "/api/embeddings", Scope.CHAT)


class Request(msgspec.Struct, frozen=True):
    """Ollama's request."""

    model: str
    """An embedding model, or `auto` for the best that there is."""
    prompt: str = ""
    options: dict[str, Any] | None = None
    keep_alive: str | float | None = None


class Vector(msgspec.Struct):
    """The vector; empty without a text."""

    embedding: list[float]


class Needs(HasCall, HasModels, Protocol):
    """Models."""


async def handle(request: Request, context: Needs) -> Vector:
    context.call.dropped = tuple(
        name for name in ("keep_alive", "options") if getattr(request, name)
    )
    if not request.prompt:
        context.models.resolve(request.model)
        return Vector([])
    name = None if request.model == "auto" else request.model
    made = await context.models.embed(context.call, name, [request.prompt])
    return Vector(made.embeddings.vectors[0])
