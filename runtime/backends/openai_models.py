"""The models of an OpenAI-compatible server: discovered, loaded, embedded with, counted by.

Every such server answers and lists names. What it can do with its models beside that depends on
which server it is.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import msgspec

from portal.runtime.backends.failures import words_of
from portal.runtime.backends.limits import Limits
from portal.runtime.backends.openai_probe import LMSTUDIO, Probe, Server
from portal.runtime.backends.operations import (
    COUNT_SECONDS,
    EMBEDDED_AT_ONCE,
    cannot,
    check_vectors,
    failing,
    too_long,
    within,
)
from portal.runtime.backends.pool import Pool
from portal.runtime.backends.tolerant import mapping, whole
from portal.shared.errors import BackendError, BackendRefused, BackendTimeout, UnknownModel
from portal.shared.model_operations import Embeddings, PullProgress
from portal.shared.models import Model

LIST_SECONDS = 5.0
"""Longest wait for a list that is only asked for in passing."""
POLL_SECONDS = 0.2
"""Between two looks whether llama.cpp's router has loaded a model."""
TOKENIZE = "/tokenize"
INSTEAD: Mapping[Server, str] = {
    "": "Servers of kind `openai` have no call for that; its own documentation tells the way.",
    "vllm": "It serves the model that it was started with: `vllm serve <model>`.",
    "lmstudio": "In LM Studio that is done in its window; `lms get <model>` downloads one.",
    "lmstudio-0.3": "LM Studio before 0.4 loads a model when it is asked something; the rest is "
    "done in its window, or with `lms get`, `lms load` and `lms unload`.",
    "llamacpp": "llama.cpp serves the GGUF file that it was started with; started without one, "
    "it loads and unloads those of its folder.",
    "router": "llama.cpp serves the GGUF files of its cache and of its --models-dir.",
}
"""What helps where an operation is refused."""


class _Vector(msgspec.Struct):
    embedding: list[float]
    index: int = 0


class _Vectors(msgspec.Struct):
    data: list[_Vector]
    usage: Any = None


class OpenAIModels:
    """The models of one server. `limits` are those of its answers."""

    def __init__(self, pool: Pool, limits: Limits) -> None:
        self._pool = pool
        self._limits = limits
        self._probe = Probe(pool)

    async def discover(self, limits: Limits) -> tuple[Model, ...]:
        return await self._probe.models(limits)

    def forget(self) -> None:
        self._probe.forget()

    async def loaded(self) -> frozenset[str] | None:
        try:
            found = await self._probe.models(within(self._limits, LIST_SECONDS))
        except BackendError:
            return None
        if all(model.loaded is None for model in found):
            return None
        return frozenset(model.name for model in found if model.loaded)

    def pull(self, model: str) -> AsyncGenerator[PullProgress, None]:
        return failing(cannot(self._pool.name, "pull", INSTEAD[self._probe.server]))

    async def remove(self, model: str) -> None:
        raise cannot(self._pool.name, "remove", INSTEAD[self._probe.server])

    async def load(self, model: str, *, num_ctx: int | None = None) -> None:
        """Take it into memory, on LM Studio since 0.4 and on llama.cpp's router."""
        found = await self._manageable(model, "load")
        if found.loaded:
            return
        if self._probe.server == "lmstudio":
            body: dict[str, Any] = {"model": model}
            if num_ctx is not None:
                body["config"] = {"context_length": num_ctx}
            await self._do(f"{LMSTUDIO}/load", body)
        else:
            await self._do("/models/load", {"model": model})
            await self._wait_until_loaded(model)

    async def unload(self, model: str) -> None:
        """Free its memory, on LM Studio since 0.4 and on llama.cpp's router."""
        found = await self._manageable(model, "unload")
        if found.loaded is False:
            return
        if self._probe.server == "lmstudio":
            for instance in self._probe.extras[model].instances:
                await self._do(f"{LMSTUDIO}/unload", {"instance_id": instance})
        else:
            await self._do("/models/unload", {"model": model})

    async def embed(
        self, model: str, texts: Sequence[str], dimensions: int | None = None
    ) -> Embeddings:
        vectors: list[list[float]] = []
        tokens: int | None = 0
        for start in range(0, len(texts), EMBEDDED_AT_ONCE):
            some = texts[start : start + EMBEDDED_AT_ONCE]
            body: dict[str, Any] = {"model": model, "input": some, "encoding_format": "float"}
            if dimensions is not None:
                body["dimensions"] = dimensions
            try:
                answer = await self._pool.post_json("/v1/embeddings", body, _Vectors)
            except BackendRefused as error:
                raise too_long(error) from None
            in_order = [row.embedding for row in sorted(answer.data, key=lambda row: row.index)]
            check_vectors(in_order, len(some), self._pool.name)
            vectors += in_order
            counted = whole(mapping(answer.usage).get("prompt_tokens"))
            tokens = None if tokens is None or counted is None else tokens + counted
        return Embeddings(vectors, tokens)

    async def count_tokens(self, model: str, text: str) -> int | None:
        """Ask `/tokenize`, which llama.cpp and vLLM have in forms of their own."""
        server = self._probe.server
        if not text:
            return 0
        body = {"model": model}
        if server != "vllm":
            body["content"] = text
        if server not in ("llamacpp", "router"):
            body["prompt"] = text
        answer = await self._probe.ask(TOKENIZE, within(self._limits, COUNT_SECONDS), body)
        tokens = answer.get("tokens")
        if isinstance(tokens, list) and tokens:
            return len(tokens)
        # Nothing counted in a text that is not empty: the server looked at another field.
        return whole(answer.get("count"))

    async def _manageable(self, model: str, verb: str) -> Model:
        """Find the model as it is now. Raises UnsupportedField where the server cannot."""
        found = {each.name: each for each in await self._probe.models(self._limits)}
        server = self._probe.server
        if server not in ("lmstudio", "router"):
            raise cannot(self._pool.name, verb, INSTEAD[server])
        if model not in found or (server == "lmstudio" and model not in self._probe.extras):
            raise UnknownModel(
                f"The backend {self._pool.name!r} has no model {model!r}; it has "
                f"{', '.join(found) or 'none'}.",
                param="model",
            )
        return found[model]

    async def _do(self, path: str, body: dict[str, Any]) -> None:
        answer = await self._pool.post_json(path, body, dict[str, Any])
        if "error" in answer:
            raise BackendRefused(
                f"The backend {self._pool.name!r} refused: {words_of(answer)}",
                backend=self._pool.name,
                status=400,
            )

    async def _wait_until_loaded(self, model: str) -> None:
        """Wait for a router that loads in the background."""
        name = self._pool.name
        try:
            async with asyncio.timeout(self._limits.first_byte):
                while True:
                    listed = {row["id"]: row for row in await self._probe.listed(self._limits)}
                    status = mapping(listed.get(model, {}).get("status"))
                    if status.get("failed"):
                        raise BackendRefused(
                            f"The backend {name!r} could not load {model!r}: its process ended "
                            f"with status {status.get('exit_code')}. Its log tells why.",
                            backend=name,
                            status=500,
                        )
                    if status.get("value") == "loaded":
                        return
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise BackendTimeout(
                f"The backend {name!r} was still loading {model!r} after "
                f"{self._limits.first_byte:g} s.",
                backend=name,
            ) from None
