"""POST /portal/models/load: bring a model into its backend's memory."""

from typing import Protocol

import msgspec

from portal.shared.contract import Route, Scope
from portal.shared.ports import HasModelAdmin

ROUTE = Route("POST", "/portal/models/load", Scope.ADMIN)


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which model."""

    model: str
    """`<backend>/<model>`, or the model alone where it is on one backend."""


class Loaded(msgspec.Struct, frozen=True):
    """It is done."""

    model: str


class Needs(HasModelAdmin, Protocol):
    """The models on backends."""


async def handle(request: Request, context: Needs) -> Loaded:
    await context.model_admin.load(request.model)
    return Loaded(request.model)
