"""POST /v1/completions: continue a text; raw models are relayed byte for byte."""

import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any, Literal, Protocol

import msgspec

from portal.shared.contract import RawReply, RawRequest, Route, Scope, Stream
from portal.shared.errors import InvalidRequest, UnsupportedField
from portal.shared.json_body import decode_json
from portal.shared.messages import Message
from portal.shared.models import Target
from portal.shared.openai_answer import (
    DONE,
    CompletionUsage,
    TurnEvents,
    encode,
    error_event,
    gather,
)
from portal.shared.openai_request import ChatRequest, StreamOptions, read_sampling
from portal.shared.ports import HasCall, HasGateway, HasModels, HasTurns
from portal.shared.turns import (
    Error,
    Finish,
    FinishReason,
    ModelRequest,
    Text,
    TurnRequest,
    Usage,
)

ROUTE = Route("POST", "/v1/completions", Scope.CHAT)
PASS_THROUGH = frozenset({"openai", "embedded"})
"""Kinds of backend that take this very dialect."""


class Completion(msgspec.Struct, omit_defaults=True):
    """The body: the fields that Portal itself understands."""

    model: str
    prompt: str | list[Any] = ""
    """A text, or a list of one; tokens are only for the model that they are of."""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    n: int | None = None
    best_of: int | None = None
    suffix: str | None = None
    logprobs: int | None = None
    echo: bool | None = None


class CompletionChoice(msgspec.Struct):
    """The one continuation."""

    text: str
    finish_reason: FinishReason
    index: int = 0
    logprobs: None = None


class TextCompletion(msgspec.Struct):
    """A whole continuation."""

    id: str
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: CompletionUsage
    object: Literal["text_completion"] = "text_completion"


ACCEPTS = Completion
ANSWERS = TextCompletion

HARMLESS = frozenset({"user"})
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode = msgspec.json.Decoder(Completion).decode
_known = frozenset(field.encode_name for field in msgspec.structs.fields(Completion))


class Head(msgspec.Struct):
    """The few fields that decide where a request goes."""

    model: str
    stream: bool | None = None


_head = msgspec.json.Decoder(Head).decode


class Needs(HasCall, HasModels, HasGateway, HasTurns, Protocol):
    """Names, raw models, turns."""


async def handle(request: RawRequest, context: Needs) -> TextCompletion | RawReply | Stream:
    decode_json(bytes.decode, request.body)  # what is relayed unread must be text all the same
    fields = decode_json(_fields, request.body)
    # Read from the fields as they will be sent, so that duplicate keys cannot be read two ways.
    chosen = {name: fields[name] for name in ("model", "stream") if name in fields}
    head = decode_json(_head, encode(chosen))
    target = await context.models.locate(head.model)
    stream = bool(head.stream)
    if target.kind in PASS_THROUGH:
        return await context.gateway.relay(context.call, target, ROUTE.path, fields, stream=stream)
    asked = decode_json(_decode, encode(fields))
    context.call.dropped = tuple(sorted(set(fields) - _known - HARMLESS))
    events = _events(context, target, asked)
    before = _prompt(asked) if asked.echo else ""
    if stream:
        usage = bool(asked.stream_options and asked.stream_options.include_usage)
        return Stream(_chunks(events, asked.model, before, include_usage=usage))
    whole = await gather(events, asked.model)
    choice = whole.choices[0]
    text = before + (choice.message.content or "")
    return TextCompletion(
        _id(),
        whole.created,
        asked.model,
        [CompletionChoice(text, choice.finish_reason)],
        whole.usage,
    )


def _events(context: Needs, target: Target, asked: Completion) -> TurnEvents:
    """Put the text to a model as what a person says: there is no other way into a chat."""
    _check(asked)
    messages = (Message("user", _prompt(asked)),)
    sampling = read_sampling(
        ChatRequest(
            asked.model,
            [],
            temperature=asked.temperature,
            top_p=asked.top_p,
            max_tokens=asked.max_tokens,
            stop=asked.stop,
            seed=asked.seed,
            presence_penalty=asked.presence_penalty,
            frequency_penalty=asked.frequency_penalty,
            n=asked.n,
        )
    )
    if target.workspace is None:
        request = ModelRequest(target.model, messages, sampling)
        return context.gateway.generate(context.call, target, request)
    user, whole = context.call.caller.user, not asked.stream
    turn = TurnRequest(messages, target.workspace.id, user, sampling, whole=whole)
    return context.turns.run(context.call, turn)


def _check(asked: Completion) -> None:
    """Refuse what a chat cannot give."""
    refused = {
        "suffix": (bool(asked.suffix), "a chat fills in no middle"),
        "logprobs": (asked.logprobs is not None, "a chat here does not tell its odds"),
        "best_of": (asked.best_of not in (None, 1), "a local model gives one choice per request"),
    }
    for name, (sent, why) in refused.items():
        if sent:
            raise UnsupportedField(
                f"`{name}` is not possible for {asked.model!r}: {why}. Name a model on an "
                "OpenAI-compatible backend.",
                param=name,
            )


def _prompt(asked: Completion) -> str:
    prompt = asked.prompt
    if isinstance(prompt, list):
        if len(prompt) != 1 or not isinstance(prompt[0], str):
            found = f"{len(prompt)} texts" if all(isinstance(p, str) for p in prompt) else "tokens"
            raise UnsupportedField(
                f"`prompt` is a list of {found}; {asked.model!r} takes one text per request.",
                param="prompt",
            )
        prompt = prompt[0]
    if not prompt:
        raise InvalidRequest("`prompt` is empty; send a text.", param="prompt")
    return prompt


async def _chunks(
    events: TurnEvents, model: str, before: str, *, include_usage: bool
) -> AsyncIterator[bytes]:
    head = encode(
        {"id": _id(), "object": "text_completion", "created": int(time.time()), "model": model}
    )
    prefix = b"data: " + head[:-1]
    empty = b',"usage":null' if include_usage else b""
    usage = Usage(0, 0)

    def chunk(text: str, reason: FinishReason | None = None) -> bytes:
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}
        return prefix + b',"choices":[' + encode(choice) + b"]" + empty + b"}\n\n"

    async with contextlib.aclosing(events):
        async for event in events:
            match event:
                case Text(piece):
                    yield chunk(before + piece)
                    before = ""
                case Usage():
                    usage = event
                case Finish(reason):
                    yield chunk(before, reason)
                case Error(code, message):
                    yield error_event(code, message)
                    return
    if include_usage:
        counts = CompletionUsage(
            usage.input_tokens, usage.output_tokens, usage.input_tokens + usage.output_tokens
        )
        yield prefix + b',"choices":[],"usage":' + encode(counts) + b"}\n\n"
    yield DONE


def _id() -> str:
    return f"cmpl-{uuid.uuid4().hex}"
