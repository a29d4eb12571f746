"""POST /api/show: tell about a model, workspace or persona in Ollama's shape."""

from typing import Protocol

import msgspec

from portal.shared.contract import RawReply, RawRequest, Route, Scope, Stream
from portal.shared.errors import InvalidRequest
from portal.shared.json_body import decode_json
from portal.shared.models import Persona
from portal.shared.ollama_models import Shown, show_model, show_unlisted, show_workspace, usable
from portal.shared.ollama_place import NeedsOllama, pass_on
from portal.shared.ports import HasPersonas

ROUTE = Route("POST", "/api/show", Scope.CHAT)
ANSWERS = Shown


class Request(msgspec.Struct, frozen=True):
    """Which model; `name` is what `model` once was."""

    model: str = ""
    name: str = ""


ACCEPTS = Request
_decode = msgspec.json.Decoder(Request).decode


class Needs(NeedsOllama, HasPersonas, Protocol):
    """What is known of models, and their own Ollama for the rest."""


async def handle(request: RawRequest, context: Needs) -> Shown | RawReply | Stream:
    asked = decode_json(_decode, request.body)
    name = asked.model or asked.name
    if not name:
        raise InvalidRequest(
            "`model` is missing; GET /api/tags lists what there is.", param="model"
        )
    target = await context.models.locate(name)
    if target.kind == "ollama":
        return await pass_on(context, request)
    models = context.models.models()
    if target.workspace is not None:
        able = usable(models, context.health.backends())
        return show_workspace(target.workspace, _persona(context, target.workspace.id), able)
    for model in models:
        if (model.backend, model.name) == (target.backend, target.model):
            return show_model(model)
    return show_unlisted(target)


def _persona(context: Needs, workspace: str) -> Persona | None:
    own = workspace.removeprefix("persona/")
    found = (each for each in context.personas.personas() if each.id == own != workspace)
    return next(found, None)
