"""A fake OpenAI-compatible server in the manner of vLLM, llama.cpp or LM Studio.

python -m tests.fakes.openai_compatible --port 21001 --flavour llamacpp --api-key secret
"""

import argparse
import itertools
from typing import Any, cast

import msgspec

from tests.fakes.control import arguments, asked_model, serve, started_with
from tests.fakes.openai_flavours import (
    CONTEXT,
    CREATED,
    DEFAULT_MODELS,
    FLAVOURS,
    LLAMACPP,
    Flavour,
    encode,
    fault,
    is_public,
    model_list,
    properties,
    routed_row,
    unauthorized,
    unknown_model,
    unknown_path,
)
from tests.fakes.openai_instances import Instances, manages
from tests.fakes.openai_wording import branded, call_deltas, streamed, whole, whole_call
from tests.fakes.playing import Answer, Reply
from tests.fakes.script import Script, say, split
from tests.fakes.serving import Exchange

WORKING = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/embeddings"})
TOKENIZING = LLAMACPP | {"vllm"}


class StreamOptions(msgspec.Struct):
    """`stream_options`."""

    include_usage: bool | None = False


class ChatMessage(msgspec.Struct):
    """A message: text, or parts."""

    role: str
    content: str | list[dict[str, Any]] | None = None


class Asked(msgspec.Struct):
    """What the working endpoints understand; the rest is ignored, as the real ones do."""

    model: str | None = None
    messages: list[ChatMessage] | None = None
    prompt: str | list[Any] | None = None
    input: str | list[Any] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    content: str = ""
    dimensions: int | None = None

    @property
    def wants_usage(self) -> bool:
        """Whether a stream shall end with a chunk of token counts."""
        return bool(self.stream_options and self.stream_options.include_usage)


class OpenAICompatible:
    """The dialect of one flavour."""

    def __init__(
        self, flavour: Flavour, models: tuple[Any, ...] | None, api_key: str | None
    ) -> None:
        self.name: str = flavour
        self._flavour = flavour
        self._initial = DEFAULT_MODELS[flavour] if models is None else models
        self._models: tuple[str, ...] = self._initial
        self._api_key = api_key
        self._ids = itertools.count(1)
        self._instances = Instances(flavour)

    def set_memory(self, models: int | None, load_ms: float) -> None:
        raise ValueError("the memory of this fake has room for everything")

    def state(self) -> dict[str, Any]:
        return self._instances.state()

    def reset(self) -> None:
        self.set_models(None)
        self._instances.forget()

    async def admit(self, exchange: Exchange) -> None:
        name = asked_model(exchange.body)
        if manages(self._flavour) and exchange.path in WORKING and name in self._models:
            self._instances.use(name)

    def set_models(self, models: tuple[Any, ...] | None) -> None:
        self._models = self._initial if models is None else models

    def works(self, path: str) -> bool:
        return path in WORKING

    def answer(self, exchange: Exchange, script: Script) -> Answer | Reply:
        path = exchange.path
        key = self._api_key and f"Bearer {self._api_key}"
        if key and not is_public(self._flavour, path) and exchange.header("authorization") != key:
            return unauthorized(self._flavour)
        own = self._instances.answer(exchange.method, path, exchange.body, self._models)
        if own is not None:
            return own
        if exchange.method in {"GET", "HEAD"}:
            return self._get(exchange.method, path, exchange.query)
        asks = WORKING | {"/tokenize"} if self._flavour in TOKENIZING else WORKING
        if exchange.method != "POST" or path not in asks:
            return unknown_path(self._flavour, exchange.method, path)
        try:
            asked = msgspec.json.decode(exchange.body, type=Asked)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return fault(self._flavour, 400, f"Invalid JSON or field: {error}")
        if path == "/tokenize":
            return self._tokenize(asked)
        name = asked.model or (self._models or ("",))[0]
        if self._flavour != "llamacpp" and name not in self._models:
            return unknown_model(self._flavour, name)
        match path:
            case "/v1/chat/completions":
                return self._chat(asked, name, script)
            case "/v1/completions":
                return self._complete(asked, name, script)
            case _:
                return self._embed(asked, name)

    def _get(self, method: str, path: str, query: dict[str, str]) -> Reply:
        if path == "/v1/models" and self._flavour == "llamacpp-router":
            rows = [routed_row(name, self._instances.status(name)) for name in self._models]
            return Reply(200, encode({"object": "list", "data": rows}))
        if path == "/props" and self._flavour == "llamacpp-router":
            name = query.get("model", "")
            if name not in self._instances.loaded:
                return fault(self._flavour, 400, "model is not loaded")
            return properties((name,), self._instances.loaded[name])
        if path == "/v1/models":
            return model_list(self._flavour, self._models)
        if path == "/health" and self._flavour == "vllm":
            return Reply(200, b"")
        if path in {"/health", "/v1/health"} and self._flavour in LLAMACPP:
            return Reply(200, encode({"status": "ok"}))
        if path == "/props" and self._flavour in LLAMACPP:
            return properties(self._models)
        return unknown_path(self._flavour, method, path)

    def _tokenize(self, asked: Asked) -> Reply:
        if self._flavour in LLAMACPP:
            tokens = list(range(100, 100 + len(split(asked.content))))
            return Reply(200, encode({"tokens": tokens}))
        if asked.model and asked.model not in self._models:
            return unknown_model(self._flavour, asked.model)
        if asked.prompt is None and asked.messages is None:
            return fault(self._flavour, 400, "prompt: Field required")
        text = asked.prompt if isinstance(asked.prompt, str) else heard_in(asked.messages or [])
        tokens = list(range(100, 100 + len(split(text))))
        body = {"count": len(tokens), "max_model_len": CONTEXT, "tokens": tokens}
        return Reply(200, encode(body))

    def _chat(self, asked: Asked, model: str, script: Script) -> Answer | Reply:
        if not asked.messages:
            return fault(self._flavour, 400, "'messages' is required", param="messages")
        limit = asked.max_completion_tokens or asked.max_tokens
        saying = say(script, heard_in(asked.messages), limit)
        start = self._start("chatcmpl", "chat.completion", model)
        if not asked.stream:
            message: dict[str, Any] = {"role": "assistant", "content": saying.text or None}
            if saying.reasoning:
                message["reasoning_content"] = "".join(saying.reasoning)
            if saying.tool_calls:
                message["tool_calls"] = [whole_call(call) for call in saying.tool_calls]
            elif not saying.text:
                message["content"] = ""
            choice = {"index": 0, "message": message, "finish_reason": saying.finish}
            return whole(start, choice, saying, script)

        def delta(value: dict[str, Any], finish: str | None = None) -> Any:
            return {"index": 0, "delta": value, "logprobs": None, "finish_reason": finish}

        choices = [delta({"reasoning_content": thought}) for thought in saying.reasoning]
        choices += [delta({"content": token}) for token in saying.tokens]
        for index, call in enumerate(saying.tool_calls):
            choices += [delta({"tool_calls": [part]}) for part in call_deltas(index, call)]
        opening = delta({"role": "assistant", "content": None if saying.tool_calls else ""})
        return streamed(
            start | {"object": "chat.completion.chunk"},
            [opening],
            choices,
            delta({}, saying.finish),
            saying,
            script,
            with_usage=asked.wants_usage,
        )

    def _complete(self, asked: Asked, model: str, script: Script) -> Answer | Reply:
        if asked.prompt is None:
            return fault(self._flavour, 400, "'prompt' is required", param="prompt")
        prompt = asked.prompt if isinstance(asked.prompt, str) else str(asked.prompt[0])
        saying = say(script, prompt, asked.max_tokens)
        start = self._start("cmpl", "text_completion", model)

        def choice(text: str, finish: str | None = None) -> Any:
            return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}

        if not asked.stream:
            return whole(start, choice(saying.text, saying.finish), saying, script)
        choices = [choice(token) for token in saying.tokens]
        last = choice("", saying.finish)
        return streamed(start, [], choices, last, saying, script, with_usage=asked.wants_usage)

    def _embed(self, asked: Asked, model: str) -> Reply:
        if asked.input is None:
            return fault(self._flavour, 400, "'input' is required", param="input")
        inputs = [asked.input] if isinstance(asked.input, str) else asked.input
        if any(len(split(str(item))) > CONTEXT for item in inputs):
            words = f"This model's maximum context length is {CONTEXT} tokens."
            return fault(self._flavour, 400, words, param="input")
        size = asked.dimensions or 8
        rows = [
            {"object": "embedding", "index": index, "embedding": vector(str(item))[:size]}
            for index, item in enumerate(inputs)
        ]
        count = sum(len(str(item).split()) for item in inputs)
        usage = {"prompt_tokens": count, "total_tokens": count}
        return Reply(200, branded({"object": "list", "data": rows, "model": model, "usage": usage}))

    def _start(self, prefix: str, kind: str, model: str) -> dict[str, Any]:
        number = f"{prefix}-{next(self._ids):024d}"
        return {"id": number, "object": kind, "created": CREATED, "model": model}


def heard_in(messages: list[ChatMessage]) -> str:
    """Find the text of the user's last message."""
    content = next((m.content for m in reversed(messages) if m.role == "user"), "")
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if "text" in part)
    return content or ""


def vector(text: str) -> list[float]:
    """Make a vector that only the text decides."""
    return [sum(text.encode()[index::8]) / 1024 for index in range(8)]


def main() -> None:
    """Read the command line and serve."""
    parser: argparse.ArgumentParser = arguments(__doc__ or "")
    parser.add_argument("--flavour", choices=FLAVOURS, default="vllm")
    parser.add_argument("--api-key")
    options = parser.parse_args()
    flavour = cast("Flavour", options.flavour)
    serve(OpenAICompatible(flavour, started_with(options), options.api_key), options)


if __name__ == "__main__":
    main()
