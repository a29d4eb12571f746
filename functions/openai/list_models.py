"""GET /v1/models: list workspaces, then every model of every backend, from memory."""

from typing import Protocol

import msgspec

from portal.shared.contract import Route, Scope
from portal.shared.model_list import ModelList, model_entry, workspace_entry
from portal.shared.ports import HasHealth, HasModels

ROUTE = Route("GET", "/v1/models", Scope.CHAT)


class Request(msgspec.Struct, frozen=True):
    """Nothing to say."""


class Needs(HasModels, HasHealth, Protocol):
    """The registry, and which backends are live."""


async def handle(request: Request, context: Needs) -> ModelList:
    backends = {status.name: status for status in context.health.backends()}
    entries = [workspace_entry(workspace) for workspace in context.models.workspaces()]
    entries += [
        model_entry(model, backends.get(model.backend)) for model in context.models.models()
    ]
    return ModelList(entries)
