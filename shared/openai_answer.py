"""OpenAI's chat answer, whole or streamed, made from the events of a turn."""

import contextlib
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Literal

import msgspec

from portal.shared.errors import BackendBroken, BackendError, BackendTimeout
from portal.shared.openai_request import FunctionCall
from portal.shared.turns import (
    Error,
    Finish,
    FinishReason,
    Reasoning,
    Text,
    ToolCall,
    TurnEvent,
    Usage,
)


class ToolCallOut(msgspec.Struct):
    """A tool call that the model made."""

    id: str
    function: FunctionCall
    type: Literal["function"] = "function"


class AssistantMessage(msgspec.Struct):
    """The answer."""

    content: str | None
    role: Literal["assistant"] = "assistant"
    refusal: str | None = None
    reasoning_content: str | msgspec.UnsetType = msgspec.UNSET
    tool_calls: list[ToolCallOut] | msgspec.UnsetType = msgspec.UNSET


class Choice(msgspec.Struct):
    """The one answer; Portal gives a single choice."""

    message: AssistantMessage
    finish_reason: FinishReason
    index: int = 0
    logprobs: None = None


class CompletionUsage(msgspec.Struct):
    """Token counts."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletion(msgspec.Struct):
    """A whole answer."""

    id: str
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage
    object: Literal["chat.completion"] = "chat.completion"


TurnEvents = AsyncGenerator[TurnEvent, None]
DONE = b"data: [DONE]\n\n"
encode = msgspec.json.Encoder().encode


async def gather(events: TurnEvents, model: str) -> ChatCompletion:
    """Collect a whole answer. Raises what the events end with when that is an Error."""
    text: list[str] = []
    reasoning: list[str] = []
    calls: dict[int, ToolCallOut] = {}
    usage = Usage(0, 0)
    reason: FinishReason = "stop"
    async with contextlib.aclosing(events):
        async for event in events:
            match event:
                case Text(piece):
                    text.append(piece)
                case Reasoning(piece):
                    reasoning.append(piece)
                case ToolCall(index, call_id, name, arguments):
                    call = calls.setdefault(index, ToolCallOut(call_id, FunctionCall(name, "")))
                    call.function.arguments += arguments
                case Usage():
                    usage = event
                case Finish(found):
                    reason = found
                case Error(code, message):
                    raise _failure(code, message)
    answer = AssistantMessage("".join(text) if text or not calls else None)
    if reasoning:
        answer.reasoning_content = "".join(reasoning)
    if calls:
        answer.tool_calls = [calls[index] for index in sorted(calls)]
    return ChatCompletion(
        completion_id(), int(time.time()), model, [Choice(answer, reason)], _usage(usage)
    )


async def chunks(events: TurnEvents, model: str, *, include_usage: bool) -> AsyncIterator[bytes]:
    """Encode events as chat chunks, each a whole server-sent event, ending with `[DONE]`.

    The role comes with the first content, so that nothing is sent before there is an answer.
    """
    head = encode(
        {
            "id": completion_id(),
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }
    )
    prefix = b"data: " + head[:-1]
    empty = b',"usage":null' if include_usage else b""
    opening = prefix + b',"choices":[{"index":0,"delta":'
    after = b',"logprobs":null,"finish_reason":null}]' + empty + b"}\n\n"
    text_opening, text_after = opening + b'{"content":', b"}" + after
    role: dict[str, Any] = {"role": "assistant"}
    usage = Usage(0, 0)
    async with contextlib.aclosing(events):
        async for event in events:
            if type(event) is Text and not role:
                # Nearly every event of an answer is this one.
                yield text_opening + encode(event.text) + text_after
                continue
            match event:
                case Text(piece):
                    yield opening + encode({**role, "content": piece}) + after
                case Reasoning(piece):
                    yield opening + encode({**role, "reasoning_content": piece}) + after
                case ToolCall():
                    yield opening + encode({**role, "tool_calls": [_tool_delta(event)]}) + after
                case Usage():
                    usage = event
                    continue
                case Finish(reason):
                    yield (
                        opening
                        + encode(role)
                        + b',"logprobs":null,"finish_reason":'
                        + encode(reason)
                        + b"}]"
                        + empty
                        + b"}\n\n"
                    )
                case Error(code, message):
                    yield error_event(code, message)
                    return
                case _:
                    continue
            role = {}
    if include_usage:
        yield prefix + b',"choices":[],"usage":' + encode(_usage(usage)) + b"}\n\n"
    yield DONE


def error_event(code: str, message: str) -> bytes:
    """Encode an error that comes after the answer has begun."""
    error = {"message": message, "type": "backend_error", "param": None, "code": code}
    return b"data: " + encode({"error": error}) + b"\n\n"


def _failure(code: str, message: str) -> BackendError:
    """Make an error again of the event that told it."""
    return BackendTimeout(message) if code == BackendTimeout.code else BackendBroken(message)


def completion_id() -> str:
    """Make an id such as OpenAI's."""
    return f"chatcmpl-{uuid.uuid4().hex}"


def _usage(usage: Usage) -> CompletionUsage:
    return CompletionUsage(
        usage.input_tokens, usage.output_tokens, usage.input_tokens + usage.output_tokens
    )


def _tool_delta(call: ToolCall) -> dict[str, Any]:
    function: dict[str, str] = {"arguments": call.arguments}
    delta: dict[str, Any] = {"index": call.index, "function": function}
    if call.id:
        delta |= {"id": call.id, "type": "function"}
    if call.name:
        function["name"] = call.name
    return delta
