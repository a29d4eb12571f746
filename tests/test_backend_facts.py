"""What backends tell of their models reaches Portal's; what they do not tell hides nothing."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.runtime.backends import http_backend, ollama_models
from portal.runtime.backends.ollama_facts import Facts, kv_bytes, read_facts
from portal.runtime.backends.openai_facts import (
    read_lmstudio,
    read_lmstudio_v0,
    read_model,
    read_props,
)
from portal.runtime.backends.tolerant import billions
from tests.backend_here import backend_for, named, seen
from tests.fakes.asking import ask_ollama, post
from tests.harness import Fake

StartFake = Callable[..., Fake]


async def test_ollama_tells_capabilities_window_size_and_cache(ollama: Fake) -> None:
    ollama.models(
        {"name": "qwen2.5:7b", "family": "qwen2", "num_ctx": 8192, "context_length": 32768}
    )
    async with backend_for(ollama) as backend:
        (model,) = backend.models()
    assert model.capabilities == ("general", "function_calling")
    assert (model.context_window, model.served_window) == (32768, 8192)
    assert (model.parameters, model.billions) == ("7.6B", 7.615617)
    assert (model.quantization, model.family) == ("Q4_K_M", "qwen2")
    assert model.kv_bytes == 28 * 4 * (128 + 128) * 2
    assert model.digest
    assert model.loaded is False
    assert model.guessed == ()


@pytest.mark.parametrize(
    ("told", "known"),
    [
        (("completion", "vision"), ("general", "vision")),
        (("thinking", "completion", "tools"), ("general", "reasoning", "function_calling")),
        (("embedding",), ("embedding",)),
        (("image",), ()),
        (None, None),
    ],
)
async def test_ollamas_words_for_capabilities_become_portals(
    ollama: Fake, told: Any, known: Any
) -> None:
    ollama.models({"name": "m:1", "capabilities": told})
    async with backend_for(ollama) as backend:
        assert backend.models()[0].capabilities == known


async def test_what_ollama_has_in_memory_is_told_with_its_context(ollama: Fake) -> None:
    post(ollama, "/api/chat", ask_ollama(options={"num_ctx": 2048}))
    async with backend_for(ollama) as backend:
        models = named(backend)
        assert (models["qwen2.5:7b"].loaded, models["qwen2.5:7b"].served_window) == (True, 2048)
        assert models["llava:7b"].loaded is False
        assert await backend.loaded() == frozenset({"qwen2.5:7b"})
        await backend.unload("qwen2.5:7b")
        assert await backend.loaded() == frozenset()
        assert named(backend)["qwen2.5:7b"].loaded is False


async def test_only_new_digests_are_asked_about(ollama: Fake) -> None:
    ollama.models("a", "b")
    async with backend_for(ollama) as backend:
        await backend.discover()
        assert len(ollama.requests("/api/show")) == 2
        ollama.models("a", {"name": "b:latest", "revision": "2", "context_length": 9000})
        await backend.discover()
        assert [row.json["model"] for row in ollama.requests("/api/show")[2:]] == ["b:latest"]
        assert named(backend)["b:latest"].context_window == 9000


async def test_a_model_that_cannot_be_shown_is_listed_and_asked_about_again(ollama: Fake) -> None:
    ollama.models("a", "b")
    ollama.script(path="/api/show", status=500, body={"error": "blob is damaged"}, times=1)
    async with backend_for(ollama) as backend:
        assert backend.available
        assert sorted(named(backend)) == ["a:latest", "b:latest"]
        windows = [model.context_window for model in backend.models()]
        assert sorted(windows, key=str) == [32768, None]
        await backend.discover()
        assert [model.context_window for model in backend.models()] == [32768, 32768]


async def test_shows_that_hang_cost_a_bounded_time_and_hide_nothing(
    ollama: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ollama_models, "ROUND_SECONDS", 0.3)
    ollama.models(*(f"m{n}" for n in range(6)))
    ollama.script(path="/api/show", hang=True)
    async with asyncio.timeout(10), backend_for(ollama) as backend:
        assert (backend.available, len(backend.models())) == (True, 6)
        await seen(ollama, "closed", 4, path="/api/show")
        ollama.reset()
        ollama.models(*(f"m{n}" for n in range(6)))
        monkeypatch.undo()
        await backend.discover()
        assert all(model.context_window == 32768 for model in backend.models())


async def test_shows_are_few_at_once(ollama: Fake) -> None:
    ollama.models(*(f"m{n}" for n in range(12)))
    ollama.script(path="/api/show", head_delay_ms=20)
    async with backend_for(ollama) as backend:
        assert all(model.context_window for model in backend.models())
    connections = {row.connection for row in ollama.requests("/api/show")}
    assert 1 < len(connections) <= ollama_models.SHOWN_AT_ONCE + 1


@pytest.mark.parametrize(
    "script", [{"status": 404}, {"status": 200, "body": "[]"}, {"raw": "Z2FyYmFnZQ=="}]
)
async def test_an_ollama_without_ps_is_live_and_says_nothing_of_memory(
    ollama: Fake, script: dict[str, Any]
) -> None:
    ollama.script(path="/api/ps", **script)
    async with backend_for(ollama) as backend:
        assert backend.available
        assert {model.loaded for model in backend.models()} == {None}
        assert await backend.loaded() is None


async def test_odd_rows_of_a_list_hide_no_others(ollama: Fake) -> None:
    rows: list[Any] = [7, {"no": "name"}, {"name": "odd:1", "details": [], "size": "big"}]
    ollama.script(path="/api/tags", status=200, body={"models": rows})
    async with backend_for(ollama) as backend:
        (model,) = backend.models()
    assert (model.name, model.size_bytes, model.parameters) == ("odd:1", None, None)


@pytest.mark.parametrize("body", [{"models": 7}, {"error": "Unexpected endpoint"}, [], "<html>"])
async def test_what_is_no_list_of_models_is_no_live_ollama(ollama: Fake, body: Any) -> None:
    ollama.script(path="/api/tags", status=200, body=body)
    async with backend_for(ollama) as backend:
        assert backend.status().state == "dead"
        assert "kind" in backend.status().error


async def test_a_vanished_model_is_marked_and_comes_back(ollama: Fake) -> None:
    ollama.models("a", "b")
    async with backend_for(ollama) as backend:
        ollama.models("b")
        await backend.discover()
        assert {name: model.gone for name, model in named(backend).items()} == {
            "b:latest": False,
            "a:latest": True,
        }
        assert backend.status().models == 1
        ollama.models("a", "b")
        await backend.discover()
        assert not any(model.gone for model in backend.models())


async def test_vanished_models_are_remembered_in_a_bounded_number(
    ollama: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_backend, "GONE_KEPT", 2)
    ollama.models("a", "b", "c")
    async with backend_for(ollama) as backend:
        ollama.models("c")
        await backend.discover()
        ollama.models("d")
        await backend.discover()
        assert [model.name for model in backend.models()][:2] == ["d:latest", "c:latest"]
        assert len(backend.models()) == 3


async def test_a_dead_backend_keeps_its_models_unmarked(ollama: Fake) -> None:
    async with backend_for(ollama) as backend:
        ollama.script(path="/api/tags", status=500)
        await backend.discover()
        assert not backend.available
        assert [model.gone for model in backend.models()] == [False] * 4


GROUPED = {
    "general.architecture": "x",
    "x.block_count": 32,
    "x.embedding_length": 4096,
    "x.attention.head_count": 32,
    "x.attention.head_count_kv": 8,
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 32 * 8 * 256 * 2),
        ({"x.attention.key_length": 64, "x.attention.value_length": 96}, 32 * 8 * 160 * 2),
        ({"x.attention.head_count_kv": [0, 8, 8]}, 16 * 256 * 2),
        ({"x.attention.head_count_kv": None}, None),
        ({"x.block_count": None}, None),
        ({"x.embedding_length": None}, None),
        (
            {"x.attention.sliding_window": 512, "x.attention.sliding_window_pattern": 4},
            8 * 8 * 256 * 2,
        ),
        ({"x.attention.sliding_window": 512}, 32 * 8 * 256 * 2),
        ({"x.full_attention_interval": 4}, 8 * 8 * 256 * 2),
    ],
)
def test_a_tokens_memory_is_reckoned_from_the_shape(change: Any, expected: int | None) -> None:
    assert kv_bytes(GROUPED | change, "x") == expected


def test_without_grouped_heads_all_heads_count() -> None:
    info = {key: value for key, value in GROUPED.items() if not key.endswith("_kv")}
    assert kv_bytes(info, "x") == 32 * 32 * 256 * 2


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "capabilities": ANYTHING,
            "parameters": ANYTHING | st.just("num_ctx  " + "9" * 5000),
            "model_info": st.dictionaries(st.sampled_from(sorted(GROUPED)), ANYTHING) | ANYTHING,
        },
    )
)
def test_no_answer_of_show_is_too_odd(shown: dict[str, Any]) -> None:
    assert isinstance(read_facts(shown), Facts)


KEYS = (
    *("id", "key", "type", "state", "meta", "status", "capabilities", "loaded_instances", "config"),
    *("quantization", "modalities", "chat_template_caps", "chat_template", "models", "data"),
    *("max_context_length", "default_generation_settings", "max_model_len", "created", "n_params"),
)
ROWS = st.recursive(
    ANYTHING,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(KEYS), ROWS))
def test_no_answer_of_an_openai_server_is_too_odd(answer: dict[str, Any]) -> None:
    read_lmstudio(answer)
    read_lmstudio_v0(answer)
    extra = read_props(answer, "m")
    assert read_model("b", answer | {"id": "m"}, extra).name == "m"


async def test_vllm_tells_its_limit_and_is_asked_nothing_else(openai_server: Fake) -> None:
    async with backend_for(openai_server) as backend:
        (model,) = backend.models()
    assert (model.context_window, model.served_window) == (32768, 32768)
    assert (model.capabilities, model.loaded) == (None, None)
    assert {row.path for row in openai_server.requests()} == {"/v1/models"}


async def test_llamacpp_tells_by_its_properties(start_fake: StartFake) -> None:
    fake = start_fake("openai_compatible", "--flavour", "llamacpp")
    async with backend_for(fake) as backend:
        (model,) = backend.models()
    assert model.capabilities == ("general", "function_calling")
    assert (model.context_window, model.served_window) == (32768, 32768)
    assert (model.parameters, model.billions) == ("7.6B", 7.615617)
    assert (model.quantization, model.loaded) == ("Q4_K - Medium", True)


@pytest.mark.parametrize(
    ("name", "props", "known"),
    [
        ("m", {"modalities": {"vision": True}}, ("general", "vision")),
        ("m", {"chat_template": "{% if enable_thinking %}<think>"}, ("general", "reasoning")),
        ("nomic-embed-text", {}, None),
        ("m", {"chat_template_caps": {}}, None),
        ("m", {"modalities": {}}, None),
    ],
)
def test_capabilities_are_read_from_properties(name: str, props: Any, known: Any) -> None:
    base = {"modalities": {"vision": False}, "chat_template_caps": {"supports_tools": False}}
    assert read_props(base | props, name).capabilities == known


async def test_a_router_tells_what_is_loaded_without_loading_more(start_fake: StartFake) -> None:
    fake = start_fake("openai_compatible", "--flavour", "llamacpp-router")
    async with backend_for(fake) as backend:
        assert {model.loaded for model in backend.models()} == {False}
        await backend.load("gemma-3-4b-it-q4_0")
        await backend.discover()
        model = named(backend)["gemma-3-4b-it-q4_0"]
        assert (model.loaded, model.served_window, model.context_window) == (True, 4096, 32768)
        assert model.capabilities == ("general", "function_calling")
        await backend.unload("gemma-3-4b-it-q4_0")
        await backend.discover()
        again = named(backend)["gemma-3-4b-it-q4_0"]
        assert (again.loaded, again.capabilities) == (False, model.capabilities)
    assert fake.state()["loads"] == {"gemma-3-4b-it-q4_0": 1}


async def test_lm_studio_tells_by_its_own_list(start_fake: StartFake) -> None:
    fake = start_fake("openai_compatible", "--flavour", "lmstudio")
    async with backend_for(fake) as backend:
        models = named(backend)
    chat, embedding = models["qwen2.5-7b-instruct"], models["text-embedding-nomic-embed-text-v1.5"]
    assert chat.capabilities == ("general", "function_calling")
    assert (chat.context_window, chat.served_window, chat.loaded) == (32768, None, False)
    assert (chat.parameters, chat.billions, chat.quantization) == ("7B", 7.0, "Q4_K_M")
    assert (chat.family, chat.size_bytes) == ("qwen2", 4_683_073_952)
    assert embedding.capabilities == ("embedding",)


async def test_an_older_lm_studio_tells_by_its_older_list(start_fake: StartFake) -> None:
    fake = start_fake("openai_compatible", "--flavour", "lmstudio-0.3")
    async with backend_for(fake) as backend:
        await backend.discover()
        chat = named(backend)["qwen2.5-vl-7b-instruct"]
        assert chat.capabilities == ("general", "vision", "function_calling")
        assert (chat.context_window, chat.loaded) == (32768, False)
    # It says 200 to what it does not have, and that is remembered, too.
    assert len(fake.requests("/api/v1/models")) == 1


async def test_a_server_that_tells_names_alone_is_asked_once(start_fake: StartFake) -> None:
    fake = start_fake("openai_compatible", "--flavour", "localai")
    async with backend_for(fake) as backend:
        for _ in range(3):
            await backend.discover()
        assert [model.capabilities for model in backend.models()] == [None]
        asked = [row.path for row in fake.requests() if row.path != "/v1/models"]
        assert sorted(asked) == ["/api/v0/models", "/api/v1/models", "/props"]
        fake.script(path="/v1/models", status=500, times=1)
        await backend.discover()
        await backend.discover()
        assert len(fake.requests("/props")) == 2  # it was away, and may be another one


@pytest.mark.parametrize(
    "script",
    [
        {"status": 500},
        {"status": 200, "body": "<html>"},
        {"status": 200, "body": "[1]"},
        {"status": 200, "body": {"default_generation_settings": 7, "modalities": "?"}},
        {"status": 401, "body": {"error": "key"}},
        {"raw": "AAAA"},
    ],
)
async def test_odd_properties_hide_no_model(start_fake: StartFake, script: Any) -> None:
    fake = start_fake("openai_compatible", "--flavour", "llamacpp")
    fake.script(path="/props", **script)
    async with backend_for(fake) as backend:
        (model,) = backend.models()
        assert (backend.available, model.capabilities) == (True, None)


async def test_facts_stay_when_a_server_is_too_busy_to_repeat_them(start_fake: StartFake) -> None:
    fake = start_fake("openai_compatible", "--flavour", "llamacpp")
    async with backend_for(fake) as backend:
        fake.script(path="/props", status=503)
        await backend.discover()
        (model,) = backend.models()
    assert model.capabilities == ("general", "function_calling")
    assert model.loaded is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7.6B", 7.6),
        ("137M", 0.137),
        ("1.2T", 1200.0),
        ("500K", 0.0005),
        ("7", None),
        ("", None),
        ("nanB", None),
        ("-1B", None),
        ("xB", None),
    ],
)
def test_counts_of_parameters_are_read_as_people_write_them(text: str, number: Any) -> None:
    assert billions(text) == number
