"""GET /api/tags: list workspaces, personas and models in Ollama's shape, from memory."""

from typing import Protocol

import msgspec

from portal.shared.contract import Route, Scope
from portal.shared.ollama_models import Tags, list_tags
from portal.shared.ports import HasHealth, HasModels

ROUTE = Route("GET", "/api/tags", Scope.CHAT)


class Request(msgspec.Struct, frozen=True):
    """Nothing to say."""


class Needs(HasModels, HasHealth, Protocol):
    """The registry, and which backends are live."""


async def handle(request: Request, context: Needs) -> Tags:
    models = context.models
    return list_tags(
        models.workspaces(), models.models(), context.health.backends(), models.resolve
    )
