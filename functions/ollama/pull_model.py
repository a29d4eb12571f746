"""POST /api/pull: let an Ollama download a model, its progress line by line."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Protocol

import msgspec

from portal.shared.contract import Route, Scope, Stream
from portal.shared.errors import InvalidRequest, UnsupportedField
from portal.shared.model_operations import PullProgress
from portal.shared.ollama_answer import NDJSON, error_line
from portal.shared.ollama_place import NeedsOllama, place
from portal.shared.ports import HasModelAdmin

ROUTE = Route("POST", "/api/pull", Scope.ADMIN)
ANSWERS = PullProgress

_encode = msgspec.json.Encoder().encode


class Request(msgspec.Struct, frozen=True):
    """What to fetch; `name` is what `model` once was."""

    model: str = ""
    """`<backend>/<model>`, or the model alone for the Ollama that has it, else the first."""
    name: str = ""
    stream: bool | None = None
    insecure: bool | None = None


class Needs(NeedsOllama, HasModelAdmin, Protocol):
    """The models on backends."""


async def handle(request: Request, context: Needs) -> PullProgress | Stream:
    name = request.model or request.name
    if not name:
        raise InvalidRequest("`model` is missing; name what is to be fetched.", param="model")
    if request.insecure:
        raise UnsupportedField(
            "`insecure` is not passed on: fetch from a server without TLS on the Ollama itself.",
            param="insecure",
        )
    where = place(context, name)
    steps = context.model_admin.pull(f"{where.backend}/{where.model}")
    if request.stream is not False:
        return Stream(_lines(steps), media_type=NDJSON, on_error=error_line)
    last = PullProgress("success")
    async with contextlib.aclosing(steps):
        async for step in steps:
            last = step
    return last


async def _lines(steps: AsyncGenerator[PullProgress, None]) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(steps):
        async for step in steps:
            yield _encode(step) + b"\n"
