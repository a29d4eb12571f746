"""POST /v1/{path}: relay what Portal has no path of its own for, to the backend of `model`."""

from typing import Protocol
from urllib.parse import quote

import msgspec

from portal.shared.contract import RawReply, RawRequest, Route, Scope, Stream
from portal.shared.errors import InvalidRequest, NotFound
from portal.shared.json_body import decode_json
from portal.shared.messages import Message
from portal.shared.models import Target
from portal.shared.ports import HasCall, HasGateway, HasModels, HasRouting
from portal.shared.turns import TurnRequest

ROUTE = Route("POST", "/v1/{path:path}", Scope.CHAT)
TEXTS = ("prompt", "query", "input", "text", "content")
"""Fields that may say what is asked, by which a workspace chooses."""


class Head(msgspec.Struct):
    """The few fields that decide where a request goes."""

    model: str
    stream: bool | None = None


ACCEPTS = Head
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_head = msgspec.json.Decoder(Head).decode
_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode


class Needs(HasCall, HasModels, HasGateway, HasRouting, Protocol):
    """Names, raw models, decisions."""


async def handle(request: RawRequest, context: Needs) -> RawReply | Stream:
    parts = request.params["path"].split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise NotFound(f"There is no {request.path[:200]!r}: a part of it is empty or dots.")
    path = quote(f"/v1/{'/'.join(parts)}", safe="/:@!$&'()*+,;=~-._")
    decode_json(bytes.decode, request.body)  # what is relayed unread must be text all the same
    fields = decode_json(_fields, request.body)
    # Read from the fields as they will be sent, so that duplicate keys cannot be read two ways.
    chosen = {name: fields[name] for name in ("model", "stream") if name in fields}
    head = decode_json(_head, _encode(chosen))
    target = await context.models.locate(head.model)
    stream = bool(head.stream)
    if target.workspace is None:
        _check_kind(target, path)
        return await context.gateway.relay(context.call, target, path, fields, stream=stream)
    best, reason = await _best(context, target, fields, path)
    answer = await context.gateway.relay(context.call, best, path, fields, stream=stream)
    context.call.route = f"{target.workspace.id};{best.backend};{best.model};{reason}"
    return answer


def _check_kind(target: Target, path: str) -> None:
    if target.kind != "openai":
        raise NotFound(
            f"POST {path[:200]} is passed on to OpenAI-compatible backends only, and "
            f"{target.name!r} is on {target.backend!r}, which is {target.kind}."
        )


async def _best(
    context: Needs, target: Target, fields: dict[str, msgspec.Raw], path: str
) -> tuple[Target, str]:
    """Let the workspace choose, among those that can be passed such a request."""
    said = next((text for name in TEXTS if (text := _said(fields.get(name)))), path)
    turn = TurnRequest((Message("user", said),), target.name, context.call.caller.user)
    decision = await context.routing.explain(context.call, turn)
    for candidate in decision.candidates:
        found = context.models.resolve(candidate.name)
        if found.kind == "openai":
            return found, candidate.reason
    raise InvalidRequest(
        f"POST {path[:200]} is passed on to OpenAI-compatible backends only, and none has a live "
        f"model for {target.name!r}.",
        param="model",
    )


def _said(found: msgspec.Raw | None) -> str:
    try:
        return _text(found) if found is not None else ""
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
