"""Ollama's chat and generate requests, and what is asked by them in words of any backend."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from portal.shared.errors import InvalidRequest, UnsupportedField
from portal.shared.json_body import decode_json
from portal.shared.messages import Message, ToolCallPart
from portal.shared.models import Target
from portal.shared.ollama_images import content_of
from portal.shared.ollama_options import read_options
from portal.shared.turns import ModelRequest, Sampling, ToolSpec, TurnRequest

KeepAlive = str | float | None


class CalledFunction(msgspec.Struct, omit_defaults=True):
    """A function that was called; the arguments are an object, never text."""

    name: str
    arguments: dict[str, Any] = {}


class CallIn(msgspec.Struct, omit_defaults=True):
    """A tool call of an earlier answer; most clients give it no id."""

    function: CalledFunction
    id: str = ""


class OllamaMessage(msgspec.Struct, omit_defaults=True):
    """One message; `images` are base64."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = ""
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[CallIn] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class OllamaFunction(msgspec.Struct, omit_defaults=True):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class OllamaTool(msgspec.Struct, omit_defaults=True):
    """A tool, which is a function."""

    function: OllamaFunction
    type: str | None = "function"


class OllamaHead(msgspec.Struct):
    """The few fields that decide where a request goes."""

    model: str = ""
    stream: bool | None = None


class OllamaChat(msgspec.Struct, omit_defaults=True):
    """The body of POST /api/chat: the fields that Portal itself understands."""

    model: str
    messages: list[OllamaMessage] | None = None
    stream: bool | None = None
    tools: list[OllamaTool] | None = None
    format: str | dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    think: bool | str | None = None
    keep_alive: KeepAlive = None


class OllamaGenerate(msgspec.Struct, omit_defaults=True):
    """The body of POST /api/generate: the fields that Portal itself understands."""

    model: str
    prompt: str | None = None
    stream: bool | None = None
    system: str | None = None
    images: list[str] | None = None
    format: str | dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    think: bool | str | None = None
    keep_alive: KeepAlive = None
    suffix: str | None = None
    template: str | None = None
    raw: bool | None = None
    context: list[int] | None = None


class Asked(msgspec.Struct, frozen=True):
    """What a request comes to, whoever is to answer it."""

    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    tools: tuple[ToolSpec, ...] = ()
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    dropped: tuple[str, ...] = ()
    """Fields that nothing here has a place for."""

    def for_model(self, target: Target) -> ModelRequest:
        """Put it to one model."""
        return ModelRequest(
            target.model,
            self.messages,
            self.sampling,
            self.tools,
            response_format=self.response_format,
            reasoning_effort=self.reasoning_effort,
        )

    def for_turn(self, workspace: str, user: str, *, whole: bool) -> TurnRequest:
        """Put it to a workspace."""
        return TurnRequest(
            self.messages,
            workspace,
            user,
            self.sampling,
            self.tools,
            response_format=self.response_format,
            reasoning_effort=self.reasoning_effort,
            whole=whole,
        )


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_head = msgspec.json.Decoder(OllamaHead).decode
_encode = msgspec.json.Encoder().encode

HARMLESS = frozenset({"model", "stream", "truncate", "shift"})
"""Fields that Portal obeys by its own means: it fits a prompt by the policy of the workspace."""
ONLY_OLLAMA: Mapping[str, str] = {
    "suffix": "no other API fills in a middle through a chat",
    "template": "the template is the other server's own",
    "raw": "other servers put a prompt into their template; POST /v1/completions may not",
    "context": "the tokens are another model's; send the conversation to /api/chat",
}
"""Fields of /api/generate that change what is asked, and why no other backend can honour them."""


def read_fields(body: bytes) -> tuple[dict[str, msgspec.Raw], OllamaHead]:
    """Split a body into its fields as they are, and what decides where they go.

    Raises InvalidRequest, also where no model is named.
    """
    decode_json(bytes.decode, body)  # what is relayed unread must be text all the same
    fields = decode_json(_fields, body)
    # Read from the fields as they will be sent, so that duplicate keys cannot be read two ways.
    chosen = {name: fields[name] for name in ("model", "stream") if name in fields}
    head = decode_json(_head, _encode(chosen))
    if not head.model:
        raise InvalidRequest(
            "`model` is missing; GET /api/tags lists what there is.", param="model"
        )
    return fields, head


def read_chat(chat: OllamaChat, sent: Iterable[str]) -> Asked:
    """Translate a chat of which the fields `sent` came. Raises InvalidRequest, naming the place."""
    sampling, dropped = read_options(chat.options)
    messages = chat.messages or []
    if any(message.thinking for message in messages):
        dropped = (*dropped, "messages.thinking")
    return Asked(
        _messages(messages),
        sampling,
        tuple(_tool(tool) for tool in chat.tools or ()),
        _format(chat.format),
        _effort(chat.think),
        (*_unknown(sent, OllamaChat), *dropped),
    )


def read_generate(asked: OllamaGenerate, sent: Iterable[str]) -> Asked:
    """Translate a prompt into the chat that it is for any other backend.

    Raises UnsupportedField for what only Ollama can honour.
    """
    for name, why in ONLY_OLLAMA.items():
        if getattr(asked, name):
            raise UnsupportedField(
                f"`{name}` is only for models on Ollama: {why}.",
                param=name,
            )
    sampling, dropped = read_options(asked.options)
    content = content_of("images", asked.prompt or "", asked.images)
    system = (Message("system", asked.system),) if asked.system else ()
    return Asked(
        (*system, Message("user", content)),
        sampling,
        response_format=_format(asked.format),
        reasoning_effort=_effort(asked.think),
        dropped=(*_unknown(sent, OllamaGenerate), *dropped),
    )


def is_over(keep_alive: KeepAlive) -> bool:
    """Tell whether a model is to be unloaded at once: `0`, or a duration such as `0s`."""
    if isinstance(keep_alive, str):
        return keep_alive.rstrip("hmsnuµ") in ("0", "0.0")
    return keep_alive == 0


def _unknown(sent: Iterable[str], known: type[msgspec.Struct]) -> tuple[str, ...]:
    names = {field.encode_name for field in msgspec.structs.fields(known)} - {"keep_alive"}
    return tuple(sorted(name for name in sent if name not in names and name not in HARMLESS))


def _messages(messages: Sequence[OllamaMessage]) -> tuple[Message, ...]:
    """Translate messages; results of tools are paired with their calls, which may have no ids."""
    read: list[Message] = []
    waiting: list[ToolCallPart] = []
    count = 0
    for index, message in enumerate(messages):
        place = f"messages[{index}]"
        calls = []
        for call in message.tool_calls or ():
            arguments = _encode(call.function.arguments).decode()
            calls.append(ToolCallPart(call.id or f"call_{count}", call.function.name, arguments))
            count += 1
        waiting += calls
        answered, name = "", message.tool_name or ""
        if message.role == "tool":
            answered = message.tool_call_id or _pair(place, name, waiting)
            found = next((call for call in waiting if call.id == answered), None)
            if found is not None:
                waiting.remove(found)
                name = name or found.name
        content = content_of(f"{place}.images", message.content or "", message.images)
        read.append(Message(message.role, content, tuple(calls), answered, name))
    return tuple(read)


def _pair(place: str, name: str, waiting: Sequence[ToolCallPart]) -> str:
    """Find the first call without a result that has this name; without a name, the first."""
    for call in waiting:
        if not name or call.name == name:
            return call.id
    which = f"the tool {name!r}" if name else "a tool"
    raise InvalidRequest(
        f"`{place}` is a result of {which}, and no call before it waits for one.", param=place
    )


def _tool(tool: OllamaTool) -> ToolSpec:
    function = tool.function
    return ToolSpec(function.name, function.description or "", function.parameters or {})


def _format(wanted: str | dict[str, Any] | None) -> dict[str, Any] | None:
    match wanted:
        case None | "":
            return None
        case "json":
            return {"type": "json_object"}
        case dict():
            return {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted}}
    raise InvalidRequest(
        f'`format` is {wanted[:40]!r}; it must be "json" or a JSON Schema object.', param="format"
    )


def _effort(think: bool | str | None) -> str | None:
    match think:
        case None | "":
            return None
        case bool():
            return "medium" if think else "none"
        case "low" | "medium" | "high":
            return think
        case "max":
            return "high"
    raise InvalidRequest(
        f"`think` is {think[:40]!r}; it must be true, false, low, medium, high or max.",
        param="think",
    )
