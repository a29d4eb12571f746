"""A turn: one question answered, as a request and the events that come back.

Backends speak a subset of the same events (`ModelEvent`), so nothing is translated twice.
"""

from typing import Any, Literal

import msgspec

from portal.shared.messages import Message


class Text(msgspec.Struct, frozen=True, tag="text", tag_field="event"):
    """Visible text, to be appended to what came before."""

    text: str


class Reasoning(msgspec.Struct, frozen=True, tag="reasoning", tag_field="event"):
    """Text of the model's thinking, never part of the answer."""

    text: str


class ToolCall(msgspec.Struct, frozen=True, tag="tool_call", tag_field="event"):
    """A piece of a tool call: the first of an `index` has `id` and `name`, `arguments` append."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class ToolResult(msgspec.Struct, frozen=True, tag="tool_result", tag_field="event"):
    """What a tool that Portal ran gave back."""

    id: str
    name: str
    content: str
    failed: bool = False


class ApprovalAsked(msgspec.Struct, frozen=True, tag="approval_asked", tag_field="event"):
    """The turn waits for a human's decision."""

    id: str
    tool: str
    arguments: str
    reason: str


class Notice(msgspec.Struct, frozen=True, tag="notice", tag_field="event"):
    """Something worth telling beside the answer.

    `code` is stable: route, fallback, context, truncated, stored, not_stored.
    """

    code: str
    text: str


class Usage(msgspec.Struct, frozen=True, tag="usage", tag_field="event"):
    """Tokens of this answer; `estimated` when the backend did not count them itself."""

    input_tokens: int
    output_tokens: int
    estimated: bool = False


FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class Finish(msgspec.Struct, frozen=True, tag="finish", tag_field="event"):
    """The answer is complete; says why, and which model on which backend made it."""

    reason: FinishReason
    backend: str = ""
    model: str = ""


class Error(msgspec.Struct, frozen=True, tag="error", tag_field="event"):
    """The answer broke after it had begun; always the last event."""

    code: str
    message: str


ModelEvent = Text | Reasoning | ToolCall | Usage | Finish
TurnEvent = (
    Text | Reasoning | ToolCall | ToolResult | ApprovalAsked | Notice | Usage | Finish | Error
)


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the model is asked to write; None leaves it to the backend."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


class ToolSpec(msgspec.Struct, frozen=True):
    """A tool that the model may call; `parameters` is a JSON Schema."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}
    strict: bool | None = None
    """Whether the arguments must follow the schema to the letter."""


class ModelRequest(msgspec.Struct, frozen=True):
    """What one backend is asked, whatever its dialect."""

    model: str
    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str | dict[str, Any] | None = None
    """`auto`, `none`, `required`, or OpenAI's object naming one function."""
    response_format: dict[str, Any] | None = None
    """OpenAI's object: `{"type": "json_object"}` or `{"type": "json_schema", …}`."""
    reasoning_effort: str | None = None
    parallel_tool_calls: bool | None = None
    num_ctx: int | None = None
    """Tokens of context that Ollama is told to serve this model with; None leaves it to it."""


Channel = Literal["api", "web", "cli", "telegram", "slack"]


class TurnRequest(msgspec.Struct, frozen=True):
    """One turn for a workspace; `messages` ends with what the person just said."""

    messages: tuple[Message, ...]
    workspace: str = "auto"
    user: str = "local"
    sampling: Sampling = Sampling()
    tools: tuple[ToolSpec, ...] = ()
    """Tools of the client: their calls are returned to it, never executed here."""
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    parallel_tool_calls: bool | None = None
    whole: bool = False
    """Nothing is shown before the end, so that until then another model may take over."""
    channel: Channel = "api"
    """Where the answer is shown; a persona may speak otherwise there."""
