"""OpenAI's chat request as structs, and how it becomes messages, sampling and tools."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from portal.shared.errors import InvalidRequest, UnsupportedField
from portal.shared.messages import ImagePart, Message, Part, Role, TextPart, ToolCallPart
from portal.shared.turns import Sampling, ToolSpec


class ImageURL(msgspec.Struct, omit_defaults=True):
    """An image by address."""

    url: str
    detail: str | None = None


class ContentPart(msgspec.Struct, omit_defaults=True):
    """A part of a message: `text` with its text, or `image_url` with its image."""

    type: str
    text: str | None = None
    image_url: ImageURL | None = None
    refusal: str | None = None


class FunctionCall(msgspec.Struct):
    """A function's name, and its arguments as JSON text."""

    name: str
    arguments: str


class ToolCallIn(msgspec.Struct):
    """A tool call of an earlier answer."""

    id: str
    function: FunctionCall
    type: str = "function"


class ChatMessage(msgspec.Struct, omit_defaults=True):
    """One message, as clients send it."""

    role: Literal["developer", "system", "user", "assistant", "tool"]
    content: str | list[ContentPart] | None = None
    tool_calls: list[ToolCallIn] | None = None
    tool_call_id: str | None = None
    name: str | None = None


class FunctionDefinition(msgspec.Struct, omit_defaults=True):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolDefinition(msgspec.Struct, omit_defaults=True):
    """A tool, which is a function."""

    function: FunctionDefinition
    type: str = "function"


class StreamOptions(msgspec.Struct, omit_defaults=True):
    """`include_usage` asks for a last chunk with the token counts."""

    include_usage: bool | None = None


class ChatRequest(msgspec.Struct, omit_defaults=True):
    """The body of POST /v1/chat/completions: the fields that Portal itself understands."""

    model: str
    messages: list[ChatMessage]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    tools: list[ToolDefinition] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    parallel_tool_calls: bool | None = None
    n: int | None = None


class ChatHead(msgspec.Struct):
    """The few fields that decide where a request goes."""

    model: str
    stream: bool | None = None


ROLES: dict[str, Role] = {
    "developer": "system",
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
KNOWN = frozenset(field.encode_name for field in msgspec.structs.fields(ChatRequest))
HARMLESS = frozenset({"user", "metadata", "store", "service_tier"})
"""Fields that ask for nothing a local backend could give or keep back."""


def unknown_fields(sent: Sequence[str]) -> tuple[str, ...]:
    """Name the fields of a request that a translated answer will not honour."""
    return tuple(sorted(name for name in sent if name not in KNOWN and name not in HARMLESS))


def read_messages(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """Translate OpenAI's messages. Raises InvalidRequest, naming the place."""
    if not messages:
        raise InvalidRequest("`messages` is empty; send at least one message.", param="messages")
    return tuple(_message(index, message) for index, message in enumerate(messages))


def read_sampling(request: ChatRequest) -> Sampling:
    """Collect the sampling fields. Raises UnsupportedField for more than one choice."""
    if request.n not in (None, 1):
        raise UnsupportedField(
            f"`n` is {request.n}; a local model gives one choice per request.", param="n"
        )
    _check_range("temperature", request.temperature, 0, 2)
    _check_range("top_p", request.top_p, 0, 1)
    limit = request.max_completion_tokens or request.max_tokens
    _check_range("max_tokens", limit, 1, None)
    stop = (request.stop,) if isinstance(request.stop, str) else tuple(request.stop or ())
    return Sampling(
        temperature=request.temperature,
        top_p=request.top_p,
        max_tokens=limit,
        stop=stop,
        seed=request.seed,
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
    )


def read_tools(request: ChatRequest) -> tuple[ToolSpec, ...]:
    """Translate the client's tools."""
    return tuple(
        ToolSpec(
            tool.function.name,
            tool.function.description or "",
            tool.function.parameters or {},
            tool.function.strict,
        )
        for tool in request.tools or ()
    )


def _message(index: int, message: ChatMessage) -> Message:
    place = f"messages[{index}]"
    content = message.content
    if message.role == "tool" and not message.tool_call_id:
        raise InvalidRequest(
            f"`{place}` answers a tool call, and `tool_call_id` is missing.", param=place
        )
    if content is None and message.role != "assistant":
        raise InvalidRequest(f"`{place}.content` is missing.", param=f"{place}.content")
    calls = tuple(
        ToolCallPart(call.id, call.function.name, call.function.arguments)
        for call in message.tool_calls or ()
    )
    return Message(
        ROLES[message.role],
        _content(place, content),
        calls,
        message.tool_call_id or "",
        message.name or "",
    )


def _content(place: str, content: str | list[ContentPart] | None) -> str | tuple[Part, ...]:
    if content is None or isinstance(content, str):
        return content or ""
    parts: list[Part] = []
    for index, part in enumerate(content):
        where = f"{place}.content[{index}]"
        match part:
            case ContentPart(type="text", text=str(text)):
                parts.append(TextPart(text))
            case ContentPart(type="refusal", refusal=str(text)):
                parts.append(TextPart(text))
            case ContentPart(type="image_url", image_url=ImageURL(url=url, detail=detail)):
                parts.append(ImagePart(url, detail or ""))
            case _:
                raise InvalidRequest(
                    f"`{where}` is of type {part.type[:40]!r}; text and image_url are understood, "
                    "each with its own field.",
                    param=where,
                )
    if all(isinstance(part, TextPart) for part in parts):
        return "\n".join(part.text for part in parts if isinstance(part, TextPart))
    return tuple(parts)


def _check_range(name: str, value: float | None, low: float, high: float | None) -> None:
    if value is None or (value >= low and (high is None or value <= high)):
        return
    allowed = f"at least {low:g}" if high is None else f"from {low:g} to {high:g}"
    raise InvalidRequest(f"`{name}` is {value:g}; it must be {allowed}.", param=name)
