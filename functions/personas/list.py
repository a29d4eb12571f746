"""GET /v1/personas: list the personas, each of which is the model `persona/<id>`."""

from typing import Protocol

import msgspec

from portal.shared.contract import Route, Scope
from portal.shared.models import Persona
from portal.shared.ports import HasPersonas

ROUTE = Route("GET", "/v1/personas", Scope.CHAT)


class Request(msgspec.Struct, frozen=True):
    """Nothing to say."""


class Needs(HasPersonas, Protocol):
    """The personas."""


class PersonaList(msgspec.Struct, frozen=True):
    """All of them, by id."""

    data: list[Persona]
    next_cursor: str | None = None


async def handle(request: Request, context: Needs) -> PersonaList:
    return PersonaList(list(context.personas.personas()))
