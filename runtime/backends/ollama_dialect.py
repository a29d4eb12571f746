"""Ollama's own dialect: a ModelRequest for `/api/chat`, and its NDJSON back as events."""

import uuid
from typing import Any

import msgspec

from portal.runtime.backends.framing import Lines
from portal.runtime.backends.openai_dialect import encode_tool
from portal.shared.errors import BackendBroken, BackendError, BackendRefused, InvalidRequest
from portal.shared.messages import ImagePart, Message
from portal.shared.turns import (
    Finish,
    ModelEvent,
    ModelRequest,
    Reasoning,
    Text,
    ToolCall,
    ToolSpec,
    Usage,
)


class _Function(msgspec.Struct):
    name: str = ""
    arguments: dict[str, Any] | str | None = None


class _Call(msgspec.Struct):
    function: _Function
    id: str = ""


class _Message(msgspec.Struct):
    content: str = ""
    thinking: str = ""
    tool_calls: list[_Call] | None = None


class _Line(msgspec.Struct):
    message: _Message | None = None
    done: bool = False
    done_reason: str = ""
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Line).decode


def encode_request(request: ModelRequest) -> bytes:
    """Encode a streamed chat. Raises InvalidRequest for what Ollama has no way to take."""
    sampling = request.sampling
    options = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "num_predict": sampling.max_tokens,
        "stop": list(sampling.stop) or None,
        "seed": sampling.seed,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "num_ctx": request.num_ctx,
    }
    body: dict[str, Any] = {
        "model": request.model,
        "messages": _messages(request.messages),
        "stream": True,
        "options": {name: value for name, value in options.items() if value is not None},
    }
    if request.num_ctx is not None:
        # Refused where it does not fit, and not cut without a word; older ones do not know this.
        body |= {"truncate": False, "shift": False}
    if request.tools and request.tool_choice != "none":
        body["tools"] = [
            encode_tool(msgspec.structs.replace(tool, strict=None)) for tool in _offered(request)
        ]
    if request.response_format is not None:
        shape = _format(request.response_format)
        if shape is not None:
            body["format"] = shape
    if request.reasoning_effort is not None:
        body["think"] = request.reasoning_effort not in ("none", "minimal")
    return msgspec.json.encode(body)


def drops(request: ModelRequest) -> tuple[str, ...]:
    """Name what Ollama cannot be told: that a call is demanded, or how calls are made."""
    if not request.tools:
        return ()
    found = {
        "tool_choice": request.tool_choice not in (None, "auto", "none"),
        "parallel_tool_calls": request.parallel_tool_calls is False,
        "tools.strict": any(tool.strict for tool in request.tools),
    }
    return tuple(name for name, dropped in found.items() if dropped)


class EventReader:
    """Reads an answer's NDJSON bytes as events.

    A malformed line raises BackendBroken, an error among them BackendRefused: in `end`, after
    what came before it.
    """

    def __init__(self, backend: str) -> None:
        self.done = False
        """Whether nothing more is to be read: the answer is complete, or broken."""
        self._backend = backend
        self._lines = Lines()
        self._fault: BackendError | None = None
        self._calls = 0
        """Tool calls so far."""

    def feed(self, data: bytes) -> list[ModelEvent]:
        """Return the events that these bytes complete; the last one is Finish."""
        items: list[ModelEvent] = []
        try:
            for raw in self._lines.feed(data):
                self._read(raw, items)
        except BackendError as error:
            # What came before it is told first.
            self.done, self._fault = True, error
        return items

    def end(self) -> list[ModelEvent]:
        """Return what is left; BackendBroken for an answer without its end."""
        items: list[ModelEvent] = []
        if self._fault is not None:
            raise self._fault
        self._read(self._lines.end(), items)
        if not self.done:
            raise BackendBroken(
                f"The backend {self._backend} ended its stream in the middle of an answer.",
                backend=self._backend,
            )
        return items

    def _read(self, raw: bytes, items: list[ModelEvent]) -> None:
        if self.done or not raw.strip():
            return
        line = _line(raw, self._backend)
        message = line.message
        if message is not None:
            if message.thinking:
                items.append(Reasoning(message.thinking))
            if message.content:
                items.append(Text(message.content))
            for call in message.tool_calls or ():
                items.append(_tool_call(self._calls, call))
                self._calls += 1
        if line.done:
            self.done = True
            if line.eval_count is not None:
                items.append(Usage(line.prompt_eval_count or 0, line.eval_count))
            if self._calls:
                items.append(Finish("tool_calls"))
            else:
                items.append(Finish("length" if line.done_reason == "length" else "stop"))


def _offered(request: ModelRequest) -> tuple[ToolSpec, ...]:
    """Give the tools to offer: of a named one, that one alone."""
    match request.tool_choice:
        case {"function": {"name": str(name)}}:
            return tuple(tool for tool in request.tools if tool.name == name)
    return request.tools


def _line(raw: bytes, backend: str) -> _Line:
    try:
        line = _decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BackendBroken(
            f"The backend {backend} sent a line that is not a chat object: {error}.",
            backend=backend,
        ) from error
    if line.error is not None:
        raise BackendRefused(str(line.error)[:500], backend=backend, status=500)
    return line


def _tool_call(index: int, call: _Call) -> ToolCall:
    arguments = call.function.arguments
    text = (
        arguments if isinstance(arguments, str) else msgspec.json.encode(arguments or {}).decode()
    )
    # Ollama gives no id of its own; clients pair results with calls by it.
    return ToolCall(index, call.id or f"call_{uuid.uuid4().hex[:24]}", call.function.name, text)


def _messages(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    return [_encode_message(message, names) for message in messages]


def _encode_message(message: Message, names: dict[str, str]) -> dict[str, Any]:
    encoded: dict[str, Any] = {"role": message.role, "content": message.text}
    if not isinstance(message.content, str):
        images = [_base64(part.url) for part in message.content if isinstance(part, ImagePart)]
        if images:
            encoded["images"] = images
    if message.tool_calls:
        encoded["tool_calls"] = [
            {"function": {"name": call.name, "arguments": _arguments(call.arguments)}}
            for call in message.tool_calls
        ]
    if message.role == "tool":
        encoded["tool_name"] = message.name or names.get(message.tool_call_id, "")
    return encoded


def _base64(url: str) -> str:
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        raise InvalidRequest(
            f"The image {url[:60]!r} is not a base64 data: URL; Ollama takes no web addresses.",
            param="messages",
        )
    return data


def _arguments(text: str) -> Any:
    try:
        found = msgspec.json.decode(text) if text else {}
    except (msgspec.MsgspecError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidRequest(
            f"The tool call's arguments {text[:60]!r} are not a JSON object.", param="messages"
        )
    return found


def _format(response_format: dict[str, Any]) -> Any:
    match response_format:
        case {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return "json"
        case {"type": "json_schema", "json_schema": {"schema": dict() as schema}}:
            return schema
    raise InvalidRequest(
        "response_format must be of type text, json_object or json_schema (with its schema).",
        param="response_format",
    )
