"""POST /api/generate: answer a prompt as Ollama does; its own models' bytes pass as they are."""

from typing import Protocol

import msgspec

from portal.shared.contract import RawReply, RawRequest, Route, Scope, Stream
from portal.shared.json_body import decode_json
from portal.shared.ollama_answer import Answer, loaded, relayed
from portal.shared.ollama_request import OllamaGenerate, is_over, read_fields, read_generate
from portal.shared.ollama_turn import answer
from portal.shared.ports import HasCall, HasGateway, HasModels, HasTurns

ROUTE = Route("POST", "/api/generate", Scope.CHAT)
ACCEPTS = OllamaGenerate
ANSWERS = Answer

_generate = msgspec.json.Decoder(OllamaGenerate).decode
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
    wanted = decode_json(_generate, _encode(fields))
    if not wanted.prompt:
        return loaded(wanted.model, "generate", over=is_over(wanted.keep_alive))
    asked = read_generate(wanted, fields)
    return await answer(context, target, asked, wanted.model, "generate", stream=stream)
