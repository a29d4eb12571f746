"""What the fake Ollama is asked: bodies with the types of Go's structs, and its refusals."""

import base64
import json
from typing import Any

import msgspec

from tests.fakes.ollama_models import OllamaModel
from tests.fakes.playing import Reply

JSON_UTF8 = "application/json; charset=utf-8"
OPTION_TYPES: dict[str, tuple[str, type | tuple[type, ...]]] = {
    "num_ctx": ("integer", (int, float)),
    "num_predict": ("integer", (int, float)),
    "seed": ("integer", (int, float)),
    "temperature": ("float32", (int, float)),
    "top_p": ("float32", (int, float)),
    "presence_penalty": ("float32", (int, float)),
    "frequency_penalty": ("float32", (int, float)),
    "stop": ("array", list),
}


class CallFunction(msgspec.Struct):
    """A call within a message: the arguments are an object, never text."""

    name: str = ""
    arguments: dict[str, Any] = {}


class Call(msgspec.Struct):
    """A tool call of the history."""

    function: CallFunction
    id: str = ""


class ChatMessage(msgspec.Struct):
    """A message: the content is text, never a list of parts."""

    role: str
    content: str | None = ""
    thinking: str = ""
    images: list[str] | None = None
    tool_calls: list[Call] | None = None
    tool_name: str = ""


class ToolFunction(msgspec.Struct):
    """A tool's function."""

    name: str = ""
    description: str = ""
    parameters: dict[str, Any] = {}


class OllamaTool(msgspec.Struct):
    """A tool that the model may call."""

    type: str = "function"
    function: ToolFunction = msgspec.field(default_factory=ToolFunction)


class Asked(msgspec.Struct):
    """What the working endpoints have in common."""

    model: str = ""
    stream: bool | None = None
    think: bool | str | None = None
    format: str | dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    keep_alive: str | float | None = None
    messages: list[ChatMessage] | None = None
    tools: list[OllamaTool] | None = None
    prompt: str = ""
    images: list[str] | None = None
    input: Any = None
    truncate: bool | None = None
    dimensions: int | None = None

    @property
    def expires(self) -> bool:
        """Whether the model is to be unloaded after the answer."""
        return self.keep_alive in {0, "0", "0s"}


class Named(msgspec.Struct):
    """Body of what concerns one model: `/api/show`, `/api/pull`, `/api/delete`."""

    model: str = ""
    name: str = ""
    stream: bool | None = None


class RefusedError(Exception):
    """Ollama answers with an error object."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.reply = Reply(status, encode({"error": message}), JSON_UTF8)


def check(asked: Asked, model: OllamaModel, work: str) -> None:
    """Refuse what this model cannot do, and options of a wrong type."""
    if asked.think and not model.able("thinking"):
        raise RefusedError(400, f'"{asked.model}" does not support thinking')
    if not model.able("completion"):
        raise RefusedError(400, f'"{asked.model}" does not support {work}')
    if asked.tools and not model.able("tools"):
        raise RefusedError(400, f"registry.ollama.ai/library/{model.name} does not support tools")
    for key, value in (asked.options or {}).items():
        expected, types = OPTION_TYPES.get(key, ("", object))
        if not isinstance(value, types) or (expected and isinstance(value, bool)):
            raise RefusedError(500, f'option "{key}" must be of type {expected}')
    if isinstance(asked.format, str) and asked.format not in {"", "json"}:
        wanted = 'expected "json" or a valid JSON Schema object'
        raise RefusedError(400, f'invalid format: "{asked.format}"; {wanted}')


def read(body: bytes, kind: type[Any]) -> Any:
    """Decode a body as Go would, with its words for what is wrong."""
    if not body:
        raise RefusedError(400, "missing request body")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise RefusedError(400, f"json: cannot unmarshal into Go struct: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(400, f"invalid character: {error}") from None


def check_images(images: list[str] | None) -> None:
    """Refuse images that are not plain base64, data URLs included."""
    for image in images or []:
        try:
            base64.b64decode(image, validate=True)
        except ValueError:
            raise RefusedError(400, "illegal base64 data at input byte 4") from None


def limit_of(asked: Asked) -> int | None:
    """Tokens that the request allows; None for no limit."""
    limit = (asked.options or {}).get("num_predict", -1)
    return int(limit) if limit >= 0 else None


def encode(value: Any) -> bytes:
    """Encode as Go does: compact, UTF-8 as it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
