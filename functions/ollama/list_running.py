"""GET /api/ps: list the models that lie in memory, by what each Ollama says itself."""

import asyncio
from typing import Any, Protocol

import msgspec

from portal.shared.contract import RawReply, Route, Scope
from portal.shared.errors import PortalError
from portal.shared.models import Model
from portal.shared.ollama_models import name_of, show_running, usable
from portal.shared.ollama_place import NeedsOllama

ROUTE = Route("GET", "/api/ps", Scope.CHAT)
SECONDS = 2.0
"""Longest wait for an Ollama; after that it is told from memory what was loaded lately."""


class Request(msgspec.Struct, frozen=True):
    """Nothing to say."""


class Processes(msgspec.Struct):
    """The rows of each Ollama as they are but for their names, then the other servers'."""

    models: list[dict[str, Any]]


class Needs(NeedsOllama, Protocol):
    """What is known of models, and their own Ollama for the rest."""


class _Answer(msgspec.Struct):
    models: list[dict[str, Any]]


_decode = msgspec.json.Decoder(_Answer).decode


async def handle(request: Request, context: Needs) -> Processes:
    backends = context.health.backends()
    loaded = [each for each in usable(context.models.models(), backends) if each.loaded]
    asked = [each.name for each in backends if each.kind == "ollama" and each.state == "live"]
    context.call.begin_wait()
    found = await asyncio.gather(*(_ask(context, name) for name in asked))
    context.call.end_wait()
    rows: list[dict[str, Any]] = []
    told = set()
    for name, answer in zip(asked, found, strict=True):
        if answer is not None:
            told.add(name)
            rows += [_renamed(context, name, row) for row in answer]
    rows += [
        msgspec.to_builtins(show_running(model, context.models.resolve))
        for model in loaded
        if model.backend not in told
    ]
    return Processes(rows)


async def _ask(context: Needs, backend: str) -> list[dict[str, Any]] | None:
    """Ask one Ollama; None where it does not say in time."""
    # Each question notes its own route and its own wait.
    call = msgspec.structs.replace(context.call)
    try:
        async with asyncio.timeout(SECONDS):
            reply = await context.gateway.forward(call, backend, "GET", ROUTE.path, media_type="")
    except (PortalError, TimeoutError):
        return None
    if not isinstance(reply, RawReply) or reply.status != 200:
        return None
    try:
        return _decode(reply.body).models
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _renamed(context: Needs, backend: str, row: dict[str, Any]) -> dict[str, Any]:
    own = row.get("name") or row.get("model")
    if not isinstance(own, str):
        return row
    name = name_of(Model(backend, own, "ollama"), context.models.resolve)
    return {**row, "name": name, "model": name}
