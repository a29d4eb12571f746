"""POST /api/embed: turn texts into vectors, in Ollama's shape."""

import time
from typing import Annotated, Any, Protocol

import msgspec

from portal.shared.contract import Route, Scope
from portal.shared.ports import HasCall, HasModels

ROUTE = Route("POST", "/api/embed", Scope.CHAT)


class Request(msgspec.Struct, frozen=True):
    """Ollama's request; a text that is too long is refused, never cut without a word."""

    model: str
    """An embedding model, or `auto` for the best that there is."""
    input: str | list[str] = []
    dimensions: Annotated[int, msgspec.Meta(ge=1)] | None = None
    truncate: bool | None = None
    options: dict[str, Any] | None = None
    keep_alive: str | float | None = None


class Vectors(msgspec.Struct):
    """The vectors, in the order of the texts; durations are in nanoseconds."""

    model: str
    embeddings: list[list[float]]
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int = 0


class Needs(HasCall, HasModels, Protocol):
    """Models."""


async def handle(request: Request, context: Needs) -> Vectors:
    context.call.dropped = tuple(
        name for name in ("keep_alive", "options", "truncate") if getattr(request, name)
    )
    texts = [request.input] if isinstance(request.input, str) else request.input
    if not any(texts):
        context.models.resolve(request.model)
        return Vectors(request.model, [])
    began = time.perf_counter_ns()
    name = None if request.model == "auto" else request.model
    made = await context.models.embed(context.call, name, texts, dimensions=request.dimensions)
    return Vectors(
        request.model,
        made.embeddings.vectors,
        time.perf_counter_ns() - began,
        prompt_eval_count=made.embeddings.input_tokens or 0,
    )
