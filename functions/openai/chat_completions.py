"""POST /v1/chat/completions: answer a conversation; raw models are relayed byte for byte."""

from typing import Protocol

import msgspec

from portal.shared.contract import RawReply, RawRequest, Route, Scope, Stream
from portal.shared.errors import InvalidRequest
from portal.shared.json_body import decode_json
from portal.shared.models import Target
from portal.shared.openai_answer import ChatCompletion, TurnEvents, chunks, gather
from portal.shared.openai_request import (
    ChatHead,
    ChatRequest,
    read_messages,
    read_sampling,
    read_tools,
    unknown_fields,
)
from portal.shared.ports import HasCall, HasGateway, HasModels, HasTurns
from portal.shared.turns import ModelRequest, TurnRequest

ROUTE = Route("POST", "/v1/chat/completions", Scope.CHAT)
ACCEPTS = ChatRequest
ANSWERS = ChatCompletion

PASS_THROUGH = frozenset({"openai", "embedded"})
"""Kinds of backend that take this very dialect."""

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_head = msgspec.json.Decoder(ChatHead).decode
_chat = msgspec.json.Decoder(ChatRequest).decode
_encode = msgspec.json.Encoder().encode


class Needs(HasCall, HasModels, HasGateway, HasTurns, Protocol):
    """Names, raw models, turns."""


async def handle(request: RawRequest, context: Needs) -> ChatCompletion | RawReply | Stream:
    decode_json(bytes.decode, request.body)  # what is relayed unread must be text all the same
    fields = decode_json(_fields, request.body)
    # Read from the fields as they will be sent, so that duplicate keys cannot be read two ways.
    head = decode_json(_head, _encode({name: fields[name] for name in _known(fields)}))
    target = await context.models.locate(head.model)
    stream = bool(head.stream)
    if target.kind in PASS_THROUGH:
        _check_messages(fields)
        return await context.gateway.relay(context.call, target, ROUTE.path, fields, stream=stream)
    chat = decode_json(_chat, _encode(fields))
    context.call.dropped = unknown_fields(tuple(fields))
    events = _events(context, target, chat)
    if not stream:
        return await gather(events, chat.model)
    usage = bool(chat.stream_options and chat.stream_options.include_usage)
    return Stream(chunks(events, chat.model, include_usage=usage))


def _known(fields: dict[str, msgspec.Raw]) -> list[str]:
    return [name for name in ("model", "stream") if name in fields]


def _check_messages(fields: dict[str, msgspec.Raw]) -> None:
    """Refuse what no backend could answer, in words that name it."""
    messages = bytes(fields.get("messages", b""))
    if not messages.startswith(b"["):
        found = "missing" if not messages else "not an array"
        raise InvalidRequest(f"`messages` is {found}; send an array.", param="messages")
    if not messages[1:-1].strip():
        raise InvalidRequest("`messages` is empty; send at least one message.", param="messages")


def _events(context: Needs, target: Target, chat: ChatRequest) -> TurnEvents:
    messages, sampling, tools = read_messages(chat.messages), read_sampling(chat), read_tools(chat)
    if target.workspace is None:
        return context.gateway.generate(
            context.call,
            target,
            ModelRequest(
                target.model,
                messages,
                sampling,
                tools,
                chat.tool_choice,
                chat.response_format,
                chat.reasoning_effort,
                chat.parallel_tool_calls,
            ),
        )
    return context.turns.run(
        context.call,
        TurnRequest(
            messages,
            target.workspace.id,
            context.call.caller.user,
            sampling,
            tools,
            chat.tool_choice,
            chat.response_format,
            chat.reasoning_effort,
            chat.parallel_tool_calls,
            whole=not chat.stream,
        ),
    )
