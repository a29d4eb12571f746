"""Which Ollama a request is for that asks no model: it may say so, else the first that answers."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import msgspec

from portal.shared.contract import Call, RawReply, RawRequest, Scope, Stream
from portal.shared.errors import (
    Forbidden,
    InvalidRequest,
    NoBackend,
    NotFound,
    UnknownModel,
)
from portal.shared.models import BackendStatus
from portal.shared.ollama_answer import relayed
from portal.shared.ports import HasCall, HasGateway, HasHealth, HasModels

NAMES = ("source", "from", "model", "name", "destination")
"""Fields of Ollama's requests that name a model, those that must exist first.

`name` is what `model` once was.
"""
OWNERS = frozenset(
    {"pull", "push", "create", "copy", "delete", "blobs", "signout", "user", "me", "experimental"}
)
"""First parts of paths that change the server, or act in the name of its owner."""

_encode = msgspec.json.Encoder().encode
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_text = msgspec.json.Decoder(str).decode


class NeedsOllama(HasCall, HasModels, HasHealth, HasGateway, Protocol):
    """What passing a request on takes."""


class Place(msgspec.Struct, frozen=True):
    """An Ollama, and how it calls the model."""

    backend: str
    model: str
    known: bool
    """Whether it has the model, or was named."""


def place(context: NeedsOllama, name: str) -> Place:
    """Find the Ollama that a model name means; one that is nowhere yet is for the first.

    Raises InvalidRequest where the name means something else, and what `first` does.
    """
    try:
        target = context.models.resolve(name)
    except UnknownModel:
        return Place(first(context.health.backends()), name, known=False)
    if target.workspace is not None:
        raise InvalidRequest(f"{name!r} is a workspace, no model of Ollama's.", param="model")
    if target.kind != "ollama":
        raise InvalidRequest(
            f"{name!r} is on the backend {target.backend!r}, which is no Ollama.", param="model"
        )
    return Place(target.backend, target.model, known=True)


def first(backends: Sequence[BackendStatus]) -> str:
    """Name the first Ollama that answers.

    Raises NotFound where there is none, NoBackend where all are dead.
    """
    ollamas = [each for each in backends if each.kind == "ollama" and each.state != "absent"]
    for state in ("live", "unknown"):
        for each in ollamas:
            if each.state == state:
                return each.name
    if not ollamas:
        raise NotFound(
            "There is no Ollama here to pass this on to; GET /v1/models lists what there is."
        )
    raise NoBackend(f"No Ollama is live: {ollamas[0].error or ollamas[0].name}")


async def pass_on(
    context: NeedsOllama, request: RawRequest, *, changes: bool = False
) -> RawReply | Stream:
    """Pass a request on to the Ollama that its body names a model of, else to the first.

    Every field keeps its bytes but those that name a model: they lose the backend's name.
    """
    backend, body = _addressed(context, request)
    result = await context.gateway.forward(
        context.call,
        backend,
        request.method,
        _target(request),
        body,
        media_type=request.headers.get("content-type", "application/json") if body else "",
        changes=changes,
    )
    return relayed(result) if isinstance(result, Stream) else result


def check_owner(call: Call, request: RawRequest) -> None:
    """Refuse a path that could change the server to all but its owner, however it is written."""
    parts = request.path.split("/")[2:]
    if any(part in ("", ".", "..") for part in parts):
        raise NotFound(f"There is no {request.path[:200]!r}: a part of it is empty or dots.")
    if parts[0].lower() in OWNERS and not call.caller.may(Scope.ADMIN):
        raise Forbidden(
            f"/api/{parts[0]} acts in the name of the server's owner, and needs a key of scope "
            "admin."
        )


def _target(request: RawRequest) -> str:
    path = quote(request.path, safe="/:@!$&'()*+,;=~-._")
    return f"{path}?{urlencode(request.query)}" if request.query else path


def _addressed(context: NeedsOllama, request: RawRequest) -> tuple[str, bytes]:
    """Read which Ollama is meant; gives its name, and the body without it."""
    fields = _read(request.body)
    named = {name: text for name in NAMES if (text := _name(fields.get(name)))}
    if not named:
        return first(context.health.backends()), request.body
    ollamas = {each.name for each in context.health.backends() if each.kind == "ollama"}
    backend = ""
    changed: dict[str, Any] = {}
    for field, name in named.items():
        before, slash, rest = name.partition("/")
        if slash and rest and before in ollamas:
            if backend and before != backend:
                raise InvalidRequest(
                    f"`{field}` is on another backend than what comes before it; one request goes "
                    "to one.",
                    param=field,
                )
            backend, changed[field] = before, rest
    if backend:
        return backend, _encode({**fields, **changed})
    for name in named.values():
        found = place(context, name)
        if found.known:
            return found.backend, request.body
    return first(context.health.backends()), request.body


def _read(body: bytes) -> Mapping[str, msgspec.Raw]:
    try:
        return _fields(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}  # no JSON object, such as a blob


def _name(found: msgspec.Raw | None) -> str:
    try:
        return _text(found) if found is not None else ""
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
