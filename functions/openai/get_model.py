"""GET /v1/models/{id}: tell about one model, workspace or persona."""

from typing import Protocol

import msgspec

from portal.shared.contract import Path, Route, Scope
from portal.shared.errors import UnknownModel
from portal.shared.model_list import ModelEntry, model_entry, workspace_entry
from portal.shared.ports import HasHealth, HasModels

ROUTE = Route("GET", "/v1/models/{id:path}", Scope.CHAT)


class Request(msgspec.Struct, frozen=True):
    """Which one; a model's id holds slashes."""

    id: Path[str]


class Needs(HasModels, HasHealth, Protocol):
    """The registry, and which backends are live."""


async def handle(request: Request, context: Needs) -> ModelEntry:
    target = context.models.resolve(request.id)
    if target.workspace is not None:
        return workspace_entry(target.workspace)
    statuses = {status.name: status for status in context.health.backends()}
    for model in context.models.models():
        if (model.backend, model.name) == (target.backend, target.model):
            return model_entry(model, statuses.get(model.backend))
    raise UnknownModel(f"The backend {target.backend} lists no model {target.model!r}.")
