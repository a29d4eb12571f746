"""DELETE /portal/models/{model}: delete a model's files from its backend."""

from typing import Protocol

import msgspec

from portal.shared.contract import Path, Route, Scope
from portal.shared.ports import HasModelAdmin

ROUTE = Route("DELETE", "/portal/models/{model:path}", Scope.ADMIN)


class Request(msgspec.Struct, frozen=True):
    """Which model."""

    model: Path[str]
    """`<backend>/<model>`, or the model alone where it is on one backend."""


class Removed(msgspec.Struct, frozen=True):
    """It is gone."""

    model: str


class Needs(HasModelAdmin, Protocol):
    """The models on backends."""


async def handle(request: Request, context: Needs) -> Removed:
    await context.model_admin.remove(request.model)
    return Removed(request.model)
