"""A fake Ollama: its HTTP API as docs/openapi.yaml and server/routes.go of ollama/ollama have it.

    python -m tests.fakes.ollama --port 21000 --models '["qwen2.5:7b"]'

Types are checked as Go's decoder checks them, so a request that the real one refuses is refused
here; fields that it does not know are ignored, as there.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from tests.fakes.control import arguments, serve, started_with
from tests.fakes.ollama_memory import Memory
from tests.fakes.ollama_models import DEFAULT_MODELS, OllamaModel, read_models, with_tag
from tests.fakes.ollama_requests import (
    Asked,
    Named,
    RefusedError,
    check,
    check_images,
    limit_of,
    read,
)
from tests.fakes.ollama_wording import done, embedding, named, stamp, word, word_pull
from tests.fakes.playing import Answer, Reply
from tests.fakes.script import Saying, Script, say, split
from tests.fakes.serving import Exchange

VERSION = "0.40.12"
DEFAULT_CONTEXT = 4096
TOO_LONG = "the input length exceeds the context length"
WORKING = frozenset({"/api/chat", "/api/generate", "/api/embed"})


class Ollama:
    """The dialect; remembers its models, and which of them are loaded."""

    name = "ollama"

    def __init__(self, models: tuple[Any, ...] | None) -> None:
        self._initial = DEFAULT_MODELS if models is None else tuple(read_models(models).values())
        self._models: dict[str, OllamaModel] = {}
        self._memory = Memory()
        self.set_models(None)

    def set_models(self, models: tuple[Any, ...] | None) -> None:
        self._memory.clear()
        if models is None:
            self._models = {model.name.lower(): model for model in self._initial}
        else:
            self._models = read_models(models)

    def set_memory(self, models: int | None, load_ms: float) -> None:
        self._memory.limit(models, load_ms)

    def state(self) -> dict[str, Any]:
        return self._memory.state()

    def reset(self) -> None:
        self.set_models(None)
        self._memory.forget()

    async def admit(self, exchange: Exchange) -> Callable[[], None] | None:
        if exchange.method != "POST" or exchange.path not in WORKING:
            return None
        try:
            asked = read(exchange.body, Asked)
            embeds = exchange.path == "/api/embed"
            model = self._present(asked) if embeds else self._prepare(asked, exchange.path[5:])
        except RefusedError:
            return None  # it is answered without the model
        if asked.expires and not (asked.messages or asked.prompt or asked.input):
            return None
        key = model.name.lower()
        loaded = await self._memory.admit(key, context_of(asked, model))

        def let_go() -> None:
            self._memory.leave(key, loaded)
            if asked.expires:
                self._memory.unload(key)

        return let_go

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
                    return done({"models": self._running()})
                case "POST", "/api/show":
                    return self._show(exchange.body)
                case "POST", "/api/chat":
                    return self._chat(read(exchange.body, Asked), script)
                case "POST", "/api/generate":
                    return self._generate(read(exchange.body, Asked), script)
                case "POST", "/api/embed":
                    return self._embed(read(exchange.body, Asked))
                case "POST", "/api/pull":
                    return self._pull(read(exchange.body, Named), script)
                case "DELETE", "/api/delete":
                    return self._delete(read(exchange.body, Named))
        except RefusedError as refused:
            return refused.reply
        return Reply(404, b"404 page not found", "text/plain")

    def _show(self, body: bytes) -> Reply:
        asked = read(body, Named)
        name = asked.model or asked.name
        if not name:
            raise RefusedError(400, "model is required")
        model = self._models.get(with_tag(name).lower())
        if model is None:
            raise RefusedError(404, f"model '{name}' not found")
        return done(model.shown())

    def _running(self) -> list[dict[str, Any]]:
        """List what is loaded, the last used first."""
        loaded = reversed(self._memory.loaded.items())
        return [self._models[key].running(each.context) for key, each in loaded]

    def _pull(self, asked: Named, script: Script) -> Answer:
        name = asked.model or asked.name
        if not name:
            raise RefusedError(400, "invalid model name")
        pulled = read_models((name,))
        (model,) = pulled.values()

        def finished() -> None:
            self._models |= pulled

        return word_pull(model, script, finished, streamed=asked.stream is not False)

    def _delete(self, asked: Named) -> Reply:
        name = asked.model or asked.name
        if self._models.pop(with_tag(name).lower(), None) is None:
            raise RefusedError(404, f"model '{name}' not found")
        self._memory.loaded.pop(with_tag(name).lower(), None)
        return Reply(200, b"", "text/plain")

    def _chat(self, asked: Asked, script: Script) -> Answer | Reply:
        model = self._prepare(asked, "chat")
        messages = asked.messages or []
        for message in messages:
            check_images(message.images)
        if not messages:
            return self._load(asked, model, {"message": {"role": "assistant", "content": ""}})
        heard = next((m.content or "" for m in reversed(messages) if m.role == "user"), "")
        loading = self._loading()
        words = [(m.role, len(split(m.content or ""))) for m in messages]
        saying = self._read(say(script, heard, limit_of(asked)), asked, model, words, script)

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
        loading = self._loading()
        words = [("user", len(split(asked.prompt)))]
        saying = self._read(say(script, asked.prompt, limit_of(asked)), asked, model, words, script)
        thoughts = saying.reasoning if asked.think is not False else ()
        pieces = [{"response": "", "thinking": thought} for thought in thoughts]
        pieces += [{"response": token} for token in saying.tokens]
        context = {"context": [151644, 8948, 198]}
        whole = {"response": saying.text} | context
        if thoughts:
            whole["thinking"] = "".join(thoughts)
        return word(asked, saying, pieces, {"response": ""} | context, whole, loading, script)

    def _embed(self, asked: Asked) -> Reply:
        model = self._present(asked)
        texts = [asked.input] if isinstance(asked.input, str) else asked.input or []
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise RefusedError(400, "invalid input type")
        if not texts:
            return done({"model": asked.model, "embeddings": []})
        context = context_of(asked, model)
        counts = [len(split(text)) for text in texts]
        if max(counts) > context and asked.truncate is False:
            raise RefusedError(400, TOO_LONG)
        return done(
            {
                "model": asked.model,
                "embeddings": [embedding(text, asked.dimensions) for text in texts],
                "total_duration": 14_143_917,
                "load_duration": self._loading(),
                "prompt_eval_count": sum(min(count, context) for count in counts),
            }
        )

    def _read(
        self,
        saying: Saying,
        asked: Asked,
        model: OllamaModel,
        words: list[tuple[str, int]],
        script: Script,
    ) -> Saying:
        """Count the prompt as far as it fits: the oldest messages go first, and nobody is told."""
        context = context_of(asked, model)
        count = saying.input_tokens
        cuts = asked.truncate is not False or script.old
        if script.count_input:
            kept = list(words)
            while sum(n for _, n in kept) > context and cuts:
                oldest = next((i for i, (who, _) in enumerate(kept[:-1]) if who != "system"), None)
                if oldest is None:
                    break
                del kept[oldest]
            count = sum(n for _, n in kept)
        if count > context and not cuts:
            raise RefusedError(400, TOO_LONG)
        return msgspec.structs.replace(saying, input_tokens=min(count, context))

    def _present(self, asked: Asked) -> OllamaModel:
        model = self._models.get(with_tag(asked.model).lower())
        if model is None:
            raise RefusedError(404, f"model '{asked.model}' not found")
        return model

    def _prepare(self, asked: Asked, work: str) -> OllamaModel:
        if not asked.model:
            raise RefusedError(400, "model is required")
        model = self._models.get(with_tag(asked.model).lower())
        if model is None:
            raise RefusedError(404, f'model "{asked.model}" not found, try pulling it first')
        if asked.expires and not (asked.messages or asked.prompt):
            return model  # whatever it can do, it can be unloaded
        check(asked, model, work)
        return model

    def _loading(self) -> int:
        """Tell the nanoseconds of loading: few when the model was there as wanted."""
        return 1_734_000_000 if self._memory.fresh else 21_000_000

    def _load(self, asked: Asked, model: OllamaModel, empty: dict[str, Any]) -> Reply:
        reason = "load"
        if asked.expires:
            self._memory.unload(model.name.lower())
            reason = "unload"
        return done(stamp(asked.model) | empty | {"done": True, "done_reason": reason})


def context_of(asked: Asked, model: OllamaModel) -> int:
    """Decide the context to serve a request with, never more than the model has."""
    wanted = (asked.options or {}).get("num_ctx") or model.num_ctx or DEFAULT_CONTEXT
    return min(int(wanted), model.context_length)


if __name__ == "__main__":
    options = arguments(__doc__ or "").parse_args()
    serve(Ollama(started_with(options)), options)
