"""POST /api/chat: answer a conversation as Ollama does; its own models' bytes pass as they are."""

from typing import Protocol

import msgspec

from portal.shared.contract import RawReply, RawRequest, Route, Scope, Stream
from portal.shared.json_body import decode_json
from portal.shared.ollama_answer import Answer, loaded, relayed
from portal.shared.ollama_request import OllamaChat, is_over, read_chat, read_fields
from portal.shared.ollama_turn import answer
from portal.shared.ports import HasCall, HasGateway, HasModels, HasTurns

ROUTE = Route("POST", "/api/chat", Scope.CHAT)
ACCEPTS = OllamaChat
ANSWERS = Answer

_chat = msgspec.json.Decoder(OllamaChat).decode
_encode = msgspec.json.Encoder().encode


class Needs(HasCall, HasModels, HasGateway, HasTurns, Protocol):
    """Names, raw models, turns."""


async def handle(request: RawRequest, context: Needs) -> Answer | RawReply | Stream:
    fields, head = read_fields(request.body)
    target = await context.models.locate(head.model)
    stream = head.stream is not False
    if target.kind == "ollama":
        result = await context.gateway.relay(
            context.call, target, ROUTE.path, fields, stream=stream
        )
        return relayed(result) if isinstance(result, Stream) else result
    chat = decode_json(_chat, _encode(fields))
    if not chat.messages:
        return loaded(chat.model, "chat", over=is_over(chat.keep_alive))
    asked = read_chat(chat, fields)
    return await answer(context, target, asked, chat.model, "chat", stream=stream)
