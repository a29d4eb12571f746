"""POST /portal/models/unload: free the memory that a model takes."""

from typing import Protocol

import msgspec

from portal.shared.contract import Route, Scope
from portal.shared.ports import HasModelAdmin

ROUTE = Route("POST", "/portal/models/unload", Scope.ADMIN)


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which model."""

    model: str
    """`<backend>/<model>`, or the model alone where it is on one backend."""


class Unloaded(msgspec.Struct, frozen=True):
    """It is done."""

    model: str


class Needs(HasModelAdmin, Protocol):
    """The models on backends."""


async def handle(request: Request, context: Needs) -> Unloaded:
    await context.model_admin.unload(request.model)
    return Unloaded(request.model)
