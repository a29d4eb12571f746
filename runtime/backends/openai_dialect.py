"""OpenAI's chat dialect towards a backend: a ModelRequest as JSON, and its SSE back as events."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec

from portal.runtime.backends.failures import words_of
from portal.runtime.backends.framing import Events
from portal.runtime.backends.pool import Limits, Pool
from portal.shared.errors import BackendBroken, BackendRefused
from portal.shared.messages import ImagePart, Message, TextPart
from portal.shared.models import Model
from portal.shared.turns import (
    Finish,
    FinishReason,
    ModelEvent,
    ModelRequest,
    Reasoning,
    Text,
    ToolCall,
    ToolSpec,
    Usage,
)


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolDelta(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolDelta] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode
_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


def encode_request(request: ModelRequest) -> bytes:
    """Encode a streamed chat completion with its usage asked for."""
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [_message(message) for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    optional: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "stop": list(sampling.stop) or None,
        "seed": sampling.seed,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "response_format": request.response_format,
        "reasoning_effort": request.reasoning_effort,
    }
    if request.tools:
        optional["tool_choice"] = request.tool_choice
        optional["parallel_tool_calls"] = request.parallel_tool_calls
        optional["tools"] = [encode_tool(tool) for tool in request.tools]
    body.update({name: value for name, value in optional.items() if value is not None})
    return msgspec.json.encode(body)


def drops(_: ModelRequest) -> tuple[str, ...]:
    """Name no field: this dialect has a place for each."""
    return ()


async def decode_events(
    chunks: AsyncIterator[bytes], backend: str
) -> AsyncGenerator[ModelEvent, None]:
    """Turn SSE bytes into events, ending with Finish.

    Raises BackendBroken when the stream is malformed or ends without saying why it finished,
    BackendRefused when the backend sends an error in it.
    """
    events = Events()
    reader = _Reader(backend)
    async for data in chunks:
        for event in events.feed(data):
            for item in reader.read(event):
                yield item
        if reader.done:
            break
    else:
        # Some servers leave out the empty line after their last event.
        for event in events.end():
            for item in reader.read(event):
                yield item
    for item in reader.end():
        yield item


class _Reader:
    """Reads chunk after chunk; remembers what is told once the text has ended."""

    def __init__(self, backend: str) -> None:
        self.done = False
        self._backend = backend
        self._usage: Usage | None = None
        self._reason: FinishReason | None = None

    def read(self, event: bytes) -> list[ModelEvent]:
        if self.done or event == b"[DONE]":
            self.done = True
            return []
        chunk = _chunk(event, self._backend)
        if chunk.usage is not None:
            self._usage = Usage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        if not chunk.choices:
            return []
        choice = chunk.choices[0]
        if choice.finish_reason is not None:
            self._reason = _REASONS.get(choice.finish_reason, "stop")
        return _delta(choice.delta)

    def end(self) -> list[ModelEvent]:
        if self._reason is None and not self.done:
            raise BackendBroken(
                f"The backend {self._backend} ended its stream in the middle of an answer.",
                backend=self._backend,
            )
        finish = Finish(self._reason or "stop")
        return [finish] if self._usage is None else [self._usage, finish]


def _chunk(event: bytes, backend: str) -> _Chunk:
    try:
        chunk = _decode(event)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BackendBroken(
            f"The backend {backend} sent an event that is not a chat chunk: {error}.",
            backend=backend,
        ) from error
    if chunk.error is not None:
        raise BackendRefused(words_of(chunk.error), backend=backend, status=500)
    return chunk


def _delta(delta: _Delta) -> list[ModelEvent]:
    items: list[ModelEvent] = []
    reasoning = delta.reasoning_content or delta.reasoning
    if reasoning:
        items.append(Reasoning(reasoning))
    if delta.content:
        items.append(Text(delta.content))
    for call in delta.tool_calls or ():
        function = call.function or _Function()
        items.append(
            ToolCall(call.index, call.id or "", function.name or "", function.arguments or "")
        )
    return items


def encode_tool(tool: ToolSpec) -> dict[str, Any]:
    """Write a tool as OpenAI does, and Ollama after it."""
    function: dict[str, Any] = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _message(message: Message) -> dict[str, Any]:
    encoded: dict[str, Any] = {"role": message.role}
    if isinstance(message.content, str):
        encoded["content"] = message.content
    else:
        encoded["content"] = [_part(part) for part in message.content]
    if message.tool_calls:
        encoded["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
        encoded["content"] = encoded["content"] or None
    if message.tool_call_id:
        encoded["tool_call_id"] = message.tool_call_id
    if message.name:
        encoded["name"] = message.name
    return encoded


def _part(part: TextPart | ImagePart) -> dict[str, Any]:
    match part:
        case TextPart(text):
            return {"type": "text", "text": text}
        case ImagePart(url, detail):
            image = {"url": url, "detail": detail} if detail else {"url": url}
            return {"type": "image_url", "image_url": image}


class _Listed(msgspec.Struct):
    """Only the id is relied on: an odd fact about one model must not hide them all."""

    id: str
    created: Any = None
    max_model_len: Any = None
    context_length: Any = None
    meta: Any = None


class _Listing(msgspec.Struct):
    data: list[_Listed] | None = None


async def list_models(pool: Pool, backend: str, limits: Limits) -> tuple[Model, ...]:
    """Ask `/v1/models`; vLLM and llama.cpp tell more than OpenAI's shape has."""
    listing = await pool.get_json("/v1/models", _Listing, limits=limits)
    models = []
    for listed in listing.data or ():
        meta = listed.meta if isinstance(listed.meta, dict) else {}
        models.append(
            Model(
                backend,
                listed.id,
                "openai",
                context_window=_whole(listed.max_model_len)
                or _whole(listed.context_length)
                or _whole(meta.get("n_ctx_train")),
                parameters=count_in_words(_whole(meta.get("n_params"))),
                size_bytes=_whole(meta.get("size")),
                created=_whole(listed.created) or 0,
            )
        )
    return tuple(models)


def _whole(found: Any) -> int | None:
    """Take a positive whole number of sane size, and nothing else."""
    if isinstance(found, int | float) and 0 < found < 1 << 53:
        return int(found)
    return None


def count_in_words(parameters: int | None) -> str | None:
    """Write a number of parameters as people do: 135M, 7.6B."""
    if not parameters:
        return None
    if parameters >= 1_000_000_000:
        return f"{parameters / 1e9:.1f}B"
    return f"{parameters / 1e6:.0f}M"
