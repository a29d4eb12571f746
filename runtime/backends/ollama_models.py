"""An Ollama's models: discovered with all that it tells of them, pulled, loaded, embedded with.

Remembers what `/api/show` told of each digest, so that a round costs two requests when nothing
changed.
"""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec

from portal.runtime.backends.limits import Limits
from portal.runtime.backends.ollama_facts import Facts, read_facts, read_model
from portal.runtime.backends.ollama_pull import decode_progress
from portal.runtime.backends.operations import EMBEDDED_AT_ONCE, check_vectors, too_long, within
from portal.runtime.backends.pool import Pool
from portal.runtime.backends.tolerant import objects, rows, whole, words
from portal.shared.errors import BackendRefused, PortalError
from portal.shared.model_operations import Embeddings, PullProgress
from portal.shared.models import Model

SHOWN_AT_ONCE = 4
SHOW_SECONDS = 2.0
"""Longest wait for what one model is."""
ROUND_SECONDS = 5.0
"""Longest time that a round spends on new models; the next one goes on."""
JSON = ((b"content-type", b"application/json"),)


class _Vectors(msgspec.Struct):
    embeddings: list[list[float]]
    prompt_eval_count: Any = None


class OllamaModels:
    """The models of one Ollama. `limits` are those of its answers."""

    def __init__(self, pool: Pool, limits: Limits) -> None:
        self._pool = pool
        self._limits = limits
        self._facts: dict[tuple[str, str], Facts] = {}
        self._obstinate: set[tuple[str, str]] = set()
        """Of which `/api/show` failed: asked last, so that they hold up no other."""

    async def discover(self, limits: Limits) -> tuple[Model, ...]:
        answer = await self._pool.get_json("/api/tags", dict[str, Any], limits=limits)
        tags = rows(answer, "models", "name", self._pool.name)
        _, running = await asyncio.gather(self._show_new(tags, limits), self._running(limits))
        return tuple(
            read_model(self._pool.name, tag, self._facts.get(_key(tag)), running) for tag in tags
        )

    def forget(self) -> None:
        self._obstinate.clear()

    async def loaded(self) -> frozenset[str] | None:
        running = await self._running(self._limits)
        return None if running is None else frozenset(running)

    async def pull(self, model: str) -> AsyncGenerator[PullProgress, None]:
        # A large model may take hours; what must not happen is that nothing moves.
        quiet = max(self._limits.stall, self._limits.first_byte)
        limits = msgspec.structs.replace(self._limits, stall=quiet, total=math.inf)
        body = msgspec.json.encode({"model": model, "stream": True})
        reply = await self._pool.request("POST", "/api/pull", body, headers=JSON, limits=limits)
        try:
            if reply.status != 200:
                raise await self._pool.refusal(reply)
            progress = decode_progress(
                aiter(reply), model, self._pool.name, self._limits.stall, quiet
            )
            async with contextlib.aclosing(progress) as steps:
                async for step in steps:
                    yield step
        finally:
            await reply.aclose()

    async def remove(self, model: str) -> None:
        body = msgspec.json.encode({"model": model})
        reply = await self._pool.request("DELETE", "/api/delete", body, headers=JSON)
        if reply.status != 200:
            raise await self._pool.refusal(reply)
        await reply.aclose()

    async def load(self, model: str, *, num_ctx: int | None = None) -> None:
        if num_ctx is None and with_tag(model) in (await self.loaded() or ()):
            return  # asked without its context, it would be loaded anew with another
        body: dict[str, Any] = {"model": model, "stream": False}
        if num_ctx is not None:
            body["options"] = {"num_ctx": num_ctx}
        try:
            await self._pool.post_json("/api/generate", body, dict[str, Any])
        except BackendRefused as error:
            if error.status != 400 or "support" not in error.message:
                raise
            # A model that only embeds is loaded by a request for no vectors.
            body["input"] = []
            await self._pool.post_json("/api/embed", body, dict[str, Any])

    async def unload(self, model: str) -> None:
        body = {"model": model, "keep_alive": 0, "stream": False}
        await self._pool.post_json("/api/generate", body, dict[str, Any])

    async def embed(
        self, model: str, texts: Sequence[str], dimensions: int | None = None
    ) -> Embeddings:
        vectors: list[list[float]] = []
        tokens: int | None = 0
        for start in range(0, len(texts), EMBEDDED_AT_ONCE):
            some = texts[start : start + EMBEDDED_AT_ONCE]
            body: dict[str, Any] = {"model": model, "input": some, "truncate": False}
            if dimensions is not None:
                body["dimensions"] = dimensions
            try:
                answer = await self._pool.post_json("/api/embed", body, _Vectors)
            except BackendRefused as error:
                raise too_long(error) from None
            check_vectors(answer.embeddings, len(some), self._pool.name)
            vectors += answer.embeddings
            counted = whole(answer.prompt_eval_count)
            tokens = None if tokens is None or counted is None else tokens + counted
        return Embeddings(vectors, tokens)

    async def count_tokens(self, model: str, text: str) -> int | None:
        """Tell nothing: Ollama has no such call; its answers carry their own counts."""
        return None

    async def _running(self, limits: Limits) -> dict[str, dict[str, Any]] | None:
        """Ask `/api/ps`; None from an Ollama that is too old or too busy to say."""
        shortly = within(limits, SHOW_SECONDS)
        try:
            answer = await self._pool.get_json("/api/ps", dict[str, Any], shortly)
        except PortalError:
            return None
        found = objects(answer.get("models"))
        return {name: row for row in found if (name := words(row.get("name") or row.get("model")))}

    async def _show_new(self, tags: Sequence[dict[str, Any]], limits: Limits) -> None:
        """Learn what the models are that are not known yet, as far as there is time."""
        present = {_key(tag) for tag in tags}
        self._facts = {key: facts for key, facts in self._facts.items() if key in present}
        self._obstinate &= present
        new = [key for key in dict.fromkeys(map(_key, tags)) if key not in self._facts]
        waiting = deque(sorted(new, key=lambda key: key in self._obstinate))
        shortly = within(limits, SHOW_SECONDS)

        async def work() -> None:
            while waiting:
                key = waiting.popleft()
                self._obstinate.add(key)
                try:
                    shown = await self._pool.post_json(
                        "/api/show", {"model": key[0]}, dict[str, Any], shortly
                    )
                except PortalError:
                    continue
                self._facts[key] = read_facts(shown)
                self._obstinate.discard(key)

        try:
            async with asyncio.timeout(ROUND_SECONDS), asyncio.TaskGroup() as group:
                for _ in range(min(SHOWN_AT_ONCE, len(waiting))):
                    group.create_task(work())
        except TimeoutError:
            pass  # the next round asks for the rest


def with_tag(name: str) -> str:
    """Complete a model's name as Ollama does: without a tag it means `latest`."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _key(tag: dict[str, Any]) -> tuple[str, str]:
    """Name what a model's facts depend on: an older Ollama gives a date, but no digest."""
    return tag["name"], words(tag.get("digest")) or words(tag.get("modified_at")) or ""
