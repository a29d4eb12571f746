"""A fake Ollama: its HTTP API as docs/openapi.yaml and server/routes.go of ollama/ollama have it.

    python -m tests.fakes.ollama --port 21000 --models '["qwen2.5:7b"]'

Types are checked as Go's decoder checks them, so a request that the real one refuses is refused
here; fields that it does not know are ignored, as there.
"""

import math
import time
from datetime import UTC, datetime
from typing import Any

from tests.fakes.control import arguments, serve, started_with
from tests.fakes.ollama_models import DEFAULT_MODELS, OllamaModel, read_models, with_tag
from tests.fakes.ollama_requests import (
    JSON_UTF8,
    Asked,
    RefusedError,
    ShowAsked,
    check,
    check_images,
    encode,
    limit_of,
    read,
)
from tests.fakes.playing import Answer, Reply
from tests.fakes.script import Saying, Script, say
from tests.fakes.serving import Exchange

VERSION = "0.40.12"
NDJSON = "application/x-ndjson"
DEFAULT_CONTEXT = 4096
WORKING = frozenset({"/api/chat", "/api/generate", "/api/embed"})


class Ollama:
    """The dialect; remembers only which models are loaded, and with what context."""

    name = "ollama"

    def __init__(self, models: tuple[Any, ...] | None) -> None:
        self._initial = DEFAULT_MODELS if models is None else tuple(read_models(models).values())
        self._models: dict[str, OllamaModel] = {}
        self._loaded: dict[str, int] = {}
        self.set_models(None)

    def set_models(self, models: tuple[Any, ...] | None) -> None:
        self._loaded = {}
        if models is None:
            self._models = {model.name.lower(): model for model in self._initial}
        else:
            self._models = read_models(models)

    def works(self, path: str) -> bool:
        return path in WORKING

    def answer(self, exchange: Exchange, script: Script) -> Answer | Reply:
        try:
            match exchange.method, exchange.path:
                case "GET" | "HEAD", "/":
                    return Reply(200, b"Ollama is running", "text/plain; charset=utf-8")
                case "GET" | "HEAD", "/api/version":
                    return done({"version": VERSION})
                case "GET" | "HEAD", "/api/tags":
                    return done({"models": [model.listed() for model in self._models.values()]})
                case "GET", "/api/ps":
                    rows = [self._models[key].running(n) for key, n in self._loaded.items()]
                    return done({"models": rows})
                case "POST", "/api/show":
                    return self._show(exchange.body)
                case "POST", "/api/chat":
                    return self._chat(read(exchange.body, Asked), script)
                case "POST", "/api/generate":
                    return self._generate(read(exchange.body, Asked), script)
                case "POST", "/api/embed":
                    return self._embed(read(exchange.body, Asked))
        except RefusedError as refused:
            return refused.reply
        return Reply(404, b"404 page not found", "text/plain")

    def _show(self, body: bytes) -> Reply:
        asked = read(body, ShowAsked)
        name = asked.model or asked.name
        if not name:
            raise RefusedError(400, "model is required")
        model = self._models.get(with_tag(name).lower())
        if model is None:
            raise RefusedError(404, f"model '{name}' not found")
        return done(model.shown())

    def _chat(self, asked: Asked, script: Script) -> Answer | Reply:
        model = self._prepare(asked, "chat")
        messages = asked.messages or []
        for message in messages:
            check_images(message.images)
        if not messages:
            return self._load(asked, model, {"message": {"role": "assistant", "content": ""}})
        heard = next((m.content or "" for m in reversed(messages) if m.role == "user"), "")
        loading = self._use(asked, model)
        saying = say(script, heard, limit_of(asked))

        def piece(content: str = "", thinking: str = "", calls: list[Any] | None = None) -> Any:
            message: dict[str, Any] = {"role": "assistant", "content": content}
            if thinking:
                message["thinking"] = thinking
            if calls:
                message["tool_calls"] = calls
            return {"message": message}

        calls = [
            {"id": call.id, "function": {"index": index, **named(call.name, call.arguments)}}
            for index, call in enumerate(saying.tool_calls)
        ]
        thoughts = saying.reasoning if asked.think is not False else ()
        pieces = [piece(thinking=thought) for thought in thoughts]
        pieces += [piece(token) for token in saying.tokens]
        pieces += [piece(calls=[call]) for call in calls]
        whole = piece(saying.text, "".join(thoughts), calls)
        return word(asked, saying, pieces, piece(), whole, loading, script)

    def _generate(self, asked: Asked, script: Script) -> Answer | Reply:
        model = self._prepare(asked, "generate")
        check_images(asked.images)
        if not asked.prompt:
            return self._load(asked, model, {"response": ""})
        loading = self._use(asked, model)
        saying = say(script, asked.prompt, limit_of(asked))
        thoughts = saying.reasoning if asked.think is not False else ()
        pieces = [{"response": "", "thinking": thought} for thought in thoughts]
        pieces += [{"response": token} for token in saying.tokens]
        context = {"context": [151644, 8948, 198]}
        whole = {"response": saying.text} | context
        if thoughts:
            whole["thinking"] = "".join(thoughts)
        return word(asked, saying, pieces, {"response": ""} | context, whole, loading, script)

    def _embed(self, asked: Asked) -> Reply:
        model = self._find(asked.model)
        if model is None:
            raise RefusedError(404, f"model '{asked.model}' not found")
        texts = [asked.input] if isinstance(asked.input, str) else asked.input or []
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise RefusedError(400, "invalid input type")
        return done(
            {
                "model": asked.model,
                "embeddings": [embedding(text) for text in texts],
                "total_duration": 14_143_917,
                "load_duration": self._use(asked, model),
                "prompt_eval_count": sum(len(text.split()) for text in texts),
            }
        )

    def _find(self, name: str) -> OllamaModel | None:
        return self._models.get(with_tag(name).lower())

    def _prepare(self, asked: Asked, work: str) -> OllamaModel:
        if not asked.model:
            raise RefusedError(400, "model is required")
        model = self._find(asked.model)
        if model is None:
            raise RefusedError(404, f'model "{asked.model}" not found, try pulling it first')
        check(asked, model, work)
        return model

    def _use(self, asked: Asked, model: OllamaModel) -> int:
        """Load the model if need be; nanoseconds, short when it already was as wanted."""
        context = int((asked.options or {}).get("num_ctx", DEFAULT_CONTEXT))
        key = model.name.lower()
        if self._loaded.get(key) == context:
            return 21_000_000
        self._loaded[key] = context
        return 1_734_000_000

    def _load(self, asked: Asked, model: OllamaModel, empty: dict[str, Any]) -> Reply:
        if asked.keep_alive in {0, "0", "0s"}:
            self._loaded.pop(model.name.lower(), None)
            reason = "unload"
        else:
            self._use(asked, model)
            reason = "load"
        return done(stamp(asked.model) | empty | {"done": True, "done_reason": reason})


def word(
    asked: Asked,
    saying: Saying,
    pieces: list[Any],
    last: dict[str, Any],
    whole: dict[str, Any],
    loading: int,
    script: Script,
) -> Answer:
    """Put a saying into lines, or into one object."""
    # A finished tool call is an ordinary stop to Ollama.
    reason = "stop" if saying.finish == "tool_calls" else saying.finish
    end: dict[str, Any] = {
        "done": True,
        "done_reason": reason,
        "total_duration": loading + 420_000_000,
        "load_duration": loading,
    }
    if saying.usage:
        end["prompt_eval_count"] = saying.input_tokens
        end["prompt_eval_duration"] = 130_079_000
        end["eval_count"] = saying.output_tokens
        end["eval_duration"] = 259_000_000
    name = asked.model
    streamed = asked.stream is not False
    return Answer(
        content_type=NDJSON if streamed else JSON_UTF8,
        pieces=tuple(encode(stamp(name) | piece | {"done": False}) + b"\n" for piece in pieces),
        closing=encode(stamp(name) | last | end) + b"\n",
        garbage=b'{"model":"\xff\xfe","message":{"content":\n',
        error=encode({"error": script.error}) + b"\n",
        whole=None if streamed else encode(stamp(name) | whole | end),
    )


def named(name: str, call_arguments: dict[str, Any]) -> dict[str, Any]:
    """Name a function and its arguments, which are an object here."""
    return {"name": name, "arguments": call_arguments}


def stamp(model: str) -> dict[str, Any]:
    """Begin an object as every answer does."""
    now = time.time_ns()
    seconds = datetime.fromtimestamp(now // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return {"model": model, "created_at": f"{seconds}.{now % 10**9:09d}Z"}


def embedding(text: str) -> list[float]:
    """Make a unit vector that only the text decides."""
    raw = [float(sum(text.encode()[index::8]) + 1) for index in range(8)]
    norm = math.sqrt(sum(value * value for value in raw))
    return [value / norm for value in raw]


def done(value: Any) -> Reply:
    """Answer 200 with an object."""
    return Reply(200, encode(value), JSON_UTF8)


if __name__ == "__main__":
    options = arguments(__doc__ or "").parse_args()
    serve(Ollama(started_with(options)), options)
