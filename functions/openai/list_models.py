"""GET /v1/models: list workspaces, personas, then every model of every backend, from memory."""

from typing import Protocol

import msgspec

from portal.shared.contract import Route, Scope
from portal.shared.model_list import ModelList, list_entries
from portal.shared.ports import HasHealth, HasModels

ROUTE = Route("GET", "/v1/models", Scope.CHAT)


class Request(msgspec.Struct, frozen=True):
    """Nothing to say."""


class Needs(HasModels, HasHealth, Protocol):
    """The registry, and which backends are live."""


async def handle(request: Request, context: Needs) -> ModelList:
    models = context.models
    return ModelList(list_entries(models.workspaces(), models.models(), context.health.backends()))
