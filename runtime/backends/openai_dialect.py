"""OpenAI's chat dialect towards a backend: a ModelRequest as JSON, and its SSE back as events."""

from typing import Any

import msgspec

from portal.runtime.backends.failures import words_of
from portal.runtime.backends.framing import Events
from portal.shared.errors import BackendBroken, BackendError, BackendRefused
from portal.shared.messages import ImagePart, Message, TextPart
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


class EventReader:
    """Reads an answer's SSE bytes as events; remembers what is told once the text has ended.

    What is no chat chunk raises BackendBroken, an error among them BackendRefused: in `end`,
    after what came before it.
    """

    def __init__(self, backend: str) -> None:
        self.done = False
        """Whether nothing more is to be read: the answer is complete, or broken."""
        self._backend = backend
        self._events = Events()
        self._fault: BackendError | None = None
        self._usage: Usage | None = None
        self._reason: FinishReason | None = None

    def feed(self, data: bytes) -> list[ModelEvent]:
        """Return the events that these bytes complete."""
        items: list[ModelEvent] = []
        try:
            for event in self._events.feed(data):
                self._read(event, items)
        except BackendError as error:
            # What came before it is told first.
            self.done, self._fault = True, error
        return items

    def end(self) -> list[ModelEvent]:
        """Return what is left, ending with Finish; BackendBroken for an answer without its end."""
        items: list[ModelEvent] = []
        if self._fault is not None:
            raise self._fault
        if not self.done:
            # Some servers leave out the empty line after their last event.
            for event in self._events.end():
                self._read(event, items)
        if self._reason is None and not self.done:
            raise BackendBroken(
                f"The backend {self._backend} ended its stream in the middle of an answer.",
                backend=self._backend,
            )
        if self._usage is not None:
            items.append(self._usage)
        items.append(Finish(self._reason or "stop"))
        return items

    def _read(self, event: bytes, items: list[ModelEvent]) -> None:
        if self.done or event == b"[DONE]":
            self.done = True
            return
        chunk = _chunk(event, self._backend)
        if chunk.usage is not None:
            self._usage = Usage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        if not chunk.choices:
            return
        choice = chunk.choices[0]
        if choice.finish_reason is not None:
            self._reason = _REASONS.get(choice.finish_reason, "stop")
        delta = choice.delta
        reasoning = delta.reasoning_content or delta.reasoning
        if reasoning:
            items.append(Reasoning(reasoning))
        if delta.content:
            items.append(Text(delta.content))
        if delta.tool_calls:
            items += map(_tool_call, delta.tool_calls)


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


def _tool_call(call: _ToolDelta) -> ToolCall:
    function = call.function or _Function()
    return ToolCall(call.index, call.id or "", function.name or "", function.arguments or "")


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
