"""POST /portal/backends/reset: let models that are left alone after failures be tried at once."""

from typing import Protocol

import msgspec

from portal.shared.contract import Route, Scope
from portal.shared.ports import HasModelAdmin

ROUTE = Route("POST", "/portal/backends/reset", Scope.ADMIN)


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which ones; all where nothing is named."""

    backend: str | None = None
    model: str | None = None
    """The model's own name, without its backend."""


class Reset(msgspec.Struct, frozen=True):
    """How many were not simply closed."""

    reset: int


class Needs(HasModelAdmin, Protocol):
    """The models on backends."""


async def handle(request: Request, context: Needs) -> Reset:
    return Reset(context.model_admin.reset_breakers(request.backend, request.model))
