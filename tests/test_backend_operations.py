"""Models are loaded, unloaded, removed, embedded with and counted by, as each server can."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portal.runtime.backends import openai_models
from portal.runtime.backends.embedded import EmbeddedBackend
from portal.runtime.backends.embedded_server import EmbeddedServer
from portal.runtime.backends.http_backend import HTTPBackend
from portal.runtime.backends.kinds import DIALECTS
from portal.runtime.ops import schema
from portal.shared.errors import (
    BackendBroken,
    BackendRefused,
    BackendTimeout,
    BackendUnreachable,
    Conflict,
    ContextLengthExceeded,
    InvalidRequest,
    UnknownModel,
    UnsupportedField,
)
from portal.shared.messages import Message
from portal.shared.model_operations import Embeddings, PullProgress
from portal.shared.turns import ModelRequest, Usage
from tests.backend_here import backend_for
from tests.fakes.asking import VLLM_MODEL
from tests.fakes.embedded_stage import idling, staged, until
from tests.harness import Fake

StartFake = Callable[..., Fake]
EMBEDDER = "nomic-embed-text"


async def pulled(backend: HTTPBackend | EmbeddedBackend, model: str) -> list[PullProgress]:
    """Pull to the end."""
    async with asyncio.timeout(20), contextlib.aclosing(backend.pull(model)) as steps:
        return [step async for step in steps]


async def test_a_removed_model_is_gone_and_an_unknown_one_is_refused(ollama: Fake) -> None:
    async with backend_for(ollama) as backend:
        await backend.remove("llava:7b")
        await backend.discover()
        assert [model.name for model in backend.models() if model.gone] == ["llava:7b"]
        with pytest.raises(BackendRefused, match="not found") as caught:
            await backend.remove("llava:7b")
    assert caught.value.status == 404


async def test_ollama_loads_and_unloads(ollama: Fake) -> None:
    async with backend_for(ollama) as backend:
        await backend.load("qwen2.5:7b", num_ctx=8192)
        assert ollama.state()["loaded"] == {"qwen2.5:7b": 8192}
        await backend.load("qwen2.5:7b")  # as it is, not anew with another context
        assert ollama.state()["loads"] == {"qwen2.5:7b": 1}
        await backend.unload("qwen2.5:7b")
        assert ollama.state()["loaded"] == {}


async def test_ollama_loads_and_unloads_a_model_that_only_embeds(ollama: Fake) -> None:
    async with backend_for(ollama) as backend:
        await backend.load(EMBEDDER)
        assert list(ollama.state()["loaded"]) == ["nomic-embed-text:latest"]
        await backend.unload(EMBEDDER)
        assert ollama.state()["loaded"] == {}


async def test_loading_an_unknown_model_is_refused_with_the_servers_words(ollama: Fake) -> None:
    async with backend_for(ollama) as backend:
        with pytest.raises(BackendRefused, match="nope"):
            await backend.load("nope")
    assert ollama.state()["loads"] == {}


async def test_ollama_is_told_the_context_and_reports_what_it_read(ollama: Fake) -> None:
    ollama.script(count_input=True, old=True)
    messages = (
        Message("system", "be brief"),
        *(Message("user", "old words " * 1000) for _ in range(2)),
        Message("user", "and now"),
    )
    async with backend_for(ollama) as backend:
        counts = []
        for num_ctx in (None, 8192, 8192, 2100):
            request = ModelRequest("qwen2.5:7b", messages, num_ctx=num_ctx)
            events = [event async for event in backend.generate(request)]
            counts += [event.input_tokens for event in events if isinstance(event, Usage)]
    sent = [row.json["options"] for row in ollama.requests("/api/chat")]
    assert sent == [{}, {"num_ctx": 8192}, {"num_ctx": 8192}, {"num_ctx": 2100}]
    whole = 2 + 2 * 2001 + 2
    assert counts == [whole, whole, whole, whole - 2001]
    assert ollama.state()["order"] == [["qwen2.5:7b", n] for n in (4096, 8192, 2100)]


async def test_ollama_refuses_what_does_not_fit_the_context_that_it_was_told(ollama: Fake) -> None:
    ollama.script(count_input=True)
    request = ModelRequest("qwen2.5:7b", (Message("user", "word " * 3000),), num_ctx=2048)
    async with backend_for(ollama) as backend:
        with pytest.raises(ContextLengthExceeded, match="context length"):
            _ = [event async for event in backend.generate(request)]


async def test_ollama_embeds_in_order_and_counts(ollama: Fake) -> None:
    async with backend_for(ollama) as backend:
        made = await backend.embed(EMBEDDER, ["one two", "three"])
        alone = await backend.embed(EMBEDDER, ("three",))
        short = await backend.embed(EMBEDDER, ["one"], 3)
        assert await backend.embed(EMBEDDER, []) == Embeddings([], 0)
    assert made.vectors[1] == alone.vectors[0] != made.vectors[0]
    assert (made.input_tokens, len(short.vectors[0])) == (3, 3)
    assert all(row.json["truncate"] is False for row in ollama.requests("/api/embed"))


async def test_many_texts_go_out_in_several_requests(
    ollama: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.runtime.backends.ollama_models.EMBEDDED_AT_ONCE", 2)
    texts = ["a", "b", "c", "d", "e"]
    async with backend_for(ollama) as backend:
        made = await backend.embed(EMBEDDER, texts)
        single = [(await backend.embed(EMBEDDER, [text])).vectors[0] for text in texts]
    assert (made.vectors, made.input_tokens) == (single, 5)
    assert [len(row.json["input"]) for row in ollama.requests("/api/embed")][:3] == [2, 2, 1]


async def test_a_text_too_long_to_embed_is_refused_and_not_cut(
    ollama: Fake, openai_server: Fake
) -> None:
    for fake, model in ((ollama, EMBEDDER), (openai_server, VLLM_MODEL)):
        async with backend_for(fake) as backend:
            with pytest.raises(ContextLengthExceeded, match="context length"):
                await backend.embed(model, ["word " * 40_000])


async def test_openai_embeds_in_order_and_counts(openai_server: Fake) -> None:
    async with backend_for(openai_server) as backend:
        made = await backend.embed(VLLM_MODEL, ["one two", "three"], 4)
    assert [len(vector) for vector in made.vectors] == [4, 4]
    assert made.input_tokens == 3
    (sent,) = openai_server.requests("/v1/embeddings")
    assert sent.json == {
        "model": VLLM_MODEL,
        "input": ["one two", "three"],
        "encoding_format": "float",
        "dimensions": 4,
    }


async def test_vectors_that_come_out_of_order_are_put_right(openai_server: Fake) -> None:
    rows = [{"index": 1, "embedding": [2, 0]}, {"index": 0, "embedding": [1, 0]}]
    openai_server.script(path="/v1/embeddings", status=200, body={"data": rows})
    async with backend_for(openai_server) as backend:
        made = await backend.embed("m", ["a", "b"])
    assert made == Embeddings([[1.0, 0.0], [2.0, 0.0]], None)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{"index": 0, "embedding": [1]}],
        [{"index": 0, "embedding": []}, {"index": 1, "embedding": []}],
        [{"index": 0, "embedding": [1]}, {"index": 1, "embedding": [1, 2]}],
        [{"index": 0, "embedding": [None]}, {"index": 1, "embedding": [1]}],
        "?",
    ],
)
async def test_vectors_that_do_not_fit_the_texts_are_a_broken_answer(
    openai_server: Fake, rows: Any
) -> None:
    openai_server.script(path="/v1/embeddings", status=200, body={"data": rows})
    async with backend_for(openai_server) as backend:
        with pytest.raises(BackendBroken):
            await backend.embed("m", ["a", "b"])


@pytest.mark.parametrize("flavour", ["vllm", "llamacpp"])
async def test_tokens_are_counted_by_the_server(start_fake: StartFake, flavour: str) -> None:
    fake = start_fake("openai_compatible", "--flavour", flavour)
    async with backend_for(fake) as backend:
        model = backend.models()[0].name
        assert await backend.count_tokens(model, "one two three") == 3
        assert await backend.count_tokens(model, "") == 0
    (sent,) = fake.requests("/tokenize")
    assert set(sent.json) == {"model", "prompt" if flavour == "vllm" else "content"}


async def test_a_server_without_a_tokenizer_is_asked_once(start_fake: StartFake) -> None:
    fake = start_fake("openai_compatible", "--flavour", "localai")
    async with backend_for(fake) as backend:
        assert [await backend.count_tokens("gpt-4", "a b") for _ in range(3)] == [None] * 3
    assert len(fake.requests("/tokenize")) == 1


async def test_an_unknown_model_does_not_end_the_counting(openai_server: Fake) -> None:
    async with backend_for(openai_server) as backend:
        assert await backend.count_tokens("nope", "a b") is None
        assert await backend.count_tokens(VLLM_MODEL, "a b") == 2


@pytest.mark.parametrize(
    "script", [{"status": 500}, {"hang": True}, {"status": 200, "body": {"tokens": []}}]
)
async def test_a_count_that_cannot_be_had_is_none(
    openai_server: Fake, script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_models, "COUNT_SECONDS", 0.2)
    async with backend_for(openai_server) as backend:
        openai_server.script(path="/tokenize", **script)
        assert await backend.count_tokens(VLLM_MODEL, "a b") is None


async def test_ollama_counts_nothing_and_is_not_asked(ollama: Fake) -> None:
    async with backend_for(ollama) as backend:
        assert await backend.count_tokens("qwen2.5:7b", "a b") is None
    assert ollama.requests("/tokenize") == []


async def test_lm_studio_loads_once_and_unloads_by_instance(start_fake: StartFake) -> None:
    fake = start_fake("openai_compatible", "--flavour", "lmstudio")
    name = "qwen2.5-7b-instruct"
    async with backend_for(fake) as backend:
        await backend.load(name, num_ctx=16384)
        await backend.load(name)
        assert await backend.loaded() == frozenset({name})
        await backend.discover()
        assert backend.models()[0].served_window == 16384
        await backend.unload(name)
        assert await backend.loaded() == frozenset()
        await backend.unload(name)
        with pytest.raises(UnknownModel, match="it has qwen"):
            await backend.load("nope")
    assert fake.state()["order"] == [[name, 16384]]
    assert len(fake.requests("/api/v1/models/unload")) == 1


async def test_a_router_is_waited_for_while_it_loads(
    start_fake: StartFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_models, "POLL_SECONDS", 0.01)
    fake = start_fake("openai_compatible", "--flavour", "llamacpp-router")
    async with backend_for(fake) as backend:
        await backend.load("gemma-3-4b-it-q4_0")
        assert fake.state()["loaded"] == {"gemma-3-4b-it-q4_0": 4096}
        await backend.load("gemma-3-4b-it-q4_0")
        await backend.unload("gemma-3-4b-it-q4_0")
        assert fake.state()["loaded"] == {}
        with pytest.raises(BackendRefused, match=r"could not load 'broken-1b'.* status 1"):
            await backend.load("broken-1b")
    assert len(fake.requests("/models/load")) == 2


async def test_a_router_that_never_loads_is_given_up(
    start_fake: StartFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_models, "POLL_SECONDS", 0.01)
    fake = start_fake("openai_compatible", "--flavour", "llamacpp-router")
    fake.script(path="/models/load", status=200, body={"success": True})
    async with backend_for(fake, first_byte_seconds=1.0) as backend:
        with pytest.raises(BackendTimeout, match="still loading"):
            await backend.load("gemma-3-4b-it-q4_0")


@pytest.mark.parametrize(
    ("flavour", "hint"),
    [
        ("vllm", "vllm serve"),
        ("llamacpp", "GGUF"),
        ("localai", "documentation"),
        ("lmstudio-0.3", "lms load"),
    ],
)
async def test_what_a_server_cannot_do_is_refused_with_what_it_can(
    start_fake: StartFake, flavour: str, hint: str
) -> None:
    fake = start_fake("openai_compatible", "--flavour", flavour)
    async with backend_for(fake) as backend:
        model = backend.models()[0].name
        for attempt in (backend.load, backend.unload, backend.remove):
            with pytest.raises(UnsupportedField, match=hint):
                await attempt(model)
        with pytest.raises(UnsupportedField, match=hint):
            await pulled(backend, model)


async def test_operations_on_a_dead_backend_say_so(start_fake: StartFake) -> None:
    for module, options in (("ollama", ()), ("openai_compatible", ("--flavour", "lmstudio"))):
        fake = start_fake(module, *options)
        async with backend_for(fake) as backend:
            fake.kill()
            for attempt in (backend.load, backend.unload):
                with pytest.raises(BackendUnreachable):
                    await attempt("m")
            assert await backend.count_tokens("m", "a") is None
            assert await backend.loaded() is None


async def test_the_embedded_model_is_started_and_stopped(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        server = stage.server()
        backend = EmbeddedBackend(server)
        assert [model.loaded for model in backend.models()] == [False]
        await backend.load("tiny")
        assert (server.state, await backend.loaded()) == ("live", frozenset({"tiny"}))
        assert idling(server)
        lease = await server.lease()
        with pytest.raises(Conflict, match="in use"):
            await backend.unload("tiny")
        lease.release()
        await backend.unload("tiny")
        assert (server.state, await backend.loaded()) == ("standby", frozenset())
        await until(lambda: len(stage.pids) == 1)
        with pytest.raises(UnknownModel, match="it has tiny"):
            await backend.load("nope")
        await backend.aclose()


async def test_the_embedded_model_refuses_the_rest_with_what_helps(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        backend = EmbeddedBackend(stage.server())
        with pytest.raises(UnsupportedField, match="portal models pull embedded"):
            await pulled(backend, "tiny")
        with pytest.raises(InvalidRequest, match=r"embedded\.enabled"):
            await backend.remove("tiny")
        with pytest.raises(UnsupportedField, match="nomic-embed-text"):
            await backend.embed("tiny", ["a"])
        assert stage.runs == []
        await backend.aclose()


@pytest.mark.integration
async def test_a_real_llamacpp_tells_counts_and_is_stopped(tmp_path: Path) -> None:
    server = EmbeddedServer(schema.Embedded(context_window=1024), tmp_path)
    backend = EmbeddedBackend(server)
    name = backend.models()[0].name
    await backend.load(name)
    lease = await server.lease()
    made = schema.Backend("llamacpp", "openai", lease.url, api_key=lease.api_key)
    plain = HTTPBackend(made, DIALECTS["openai"])
    await plain.discover()
    (model,) = plain.models()
    assert (model.capabilities, model.loaded) == (("general",), True)
    assert (model.context_window, model.served_window) == (8192, 1024)
    assert (model.parameters, model.quantization) == ("135M", "Q4_1")
    assert await plain.count_tokens(name, "hello world") == 2
    assert await backend.count_tokens(name, "hello world") == 2
    with pytest.raises(BackendRefused, match="embeddings"):
        await plain.embed(name, ["a"])
    with pytest.raises(UnsupportedField):
        await plain.load(name)
    await plain.aclose()
    lease.release()
    await backend.unload(name)
    assert server.pid is None
    await backend.aclose()
