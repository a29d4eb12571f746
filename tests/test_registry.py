"""What model names mean, and who may answer a workspace's turn."""

import contextlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.runtime.ops import schema
from portal.runtime.routing.candidates import billions, may_chat, rank
from portal.runtime.routing.registry import Registry
from portal.shared.errors import InvalidRequest, UnknownModel
from portal.shared.models import BackendKind, Model


class Known:
    """A backend, as far as the registry looks at one."""

    def __init__(self, name: str, kind: BackendKind, *models: str, live: bool = True) -> None:
        self.name = name
        self.kind = kind
        self.available = live
        self._models = tuple(Model(name, model, kind) for model in models)

    def models(self) -> Sequence[Model]:
        return self._models


def registry(*backends: Known, **workspaces: schema.Workspace) -> Registry:
    """Make a registry that has seen these backends."""
    return Registry(backends, workspaces)  # type: ignore[arg-type]  # only what is looked at


def answers(found: Registry, workspace: schema.Workspace | None = None) -> list[str]:
    """Name who may answer, in order."""
    ranked = rank(
        workspace or schema.Workspace(),
        found.models(),
        found.resolve,
        lambda name: found.backends[name].available,
    )
    return [f"{each.backend}/{each.model}" for each in ranked]


def test_a_full_id_names_one_model() -> None:
    target = registry(Known("vllm", "openai", "Qwen/Qwen2.5")).resolve("vllm/Qwen/Qwen2.5")
    assert (target.backend, target.model, target.kind) == ("vllm", "Qwen/Qwen2.5", "openai")


def test_a_name_with_slashes_is_not_split_unless_its_first_part_is_a_backend() -> None:
    target = registry(Known("vllm", "openai", "Qwen/Qwen2.5")).resolve("Qwen/Qwen2.5")
    assert (target.backend, target.model) == ("vllm", "Qwen/Qwen2.5")


def test_an_unlisted_model_of_a_named_backend_is_passed_on() -> None:
    target = registry(Known("vllm", "openai")).resolve("vllm/brand-new")
    assert (target.backend, target.model) == ("vllm", "brand-new")


def test_a_bare_name_works_where_it_is_unambiguous() -> None:
    found = registry(Known("a", "ollama", "qwen2.5:7b"), Known("b", "openai", "other"))
    assert found.resolve("qwen2.5:7b").backend == "a"


def test_a_name_on_two_backends_is_refused_naming_both() -> None:
    found = registry(Known("a", "ollama", "m"), Known("b", "openai", "m"))
    with pytest.raises(InvalidRequest, match="a/m, b/m") as caught:
        found.resolve("m")
    assert caught.value.param == "model"


def test_ollamas_latest_may_be_left_out() -> None:
    found = registry(Known("a", "ollama", "llama3:latest"))
    assert found.resolve("llama3").model == "llama3:latest"
    assert found.resolve("llama3:latest").model == "llama3:latest"


def test_an_unknown_model_is_refused_with_the_nearest_name() -> None:
    found = registry(Known("a", "ollama", "qwen2.5:7b"))
    with pytest.raises(UnknownModel, match=r"Did you mean 'qwen2\.5:7b'"):
        found.resolve("qwen2.5:7")


@pytest.mark.parametrize("name", ["", "/", "a/", "nobody/x"])
def test_malformed_names_are_unknown_models(name: str) -> None:
    with pytest.raises(UnknownModel):
        registry(Known("a", "ollama", "m")).resolve(name)


def test_a_workspace_is_listed_and_wins_over_a_model_of_its_name() -> None:
    found = registry(Known("a", "ollama", "auto", "mine"), mine=schema.Workspace(description="d"))
    assert [workspace.id for workspace in found.workspaces()] == ["auto", "mine"]
    assert found.resolve("auto").workspace is not None
    assert found.resolve("mine").workspace is not None
    assert found.resolve("a/mine").workspace is None


@given(st.text(max_size=40))
def test_any_name_is_a_target_or_a_clear_refusal(name: str) -> None:
    found = registry(Known("a", "ollama", "m:latest", "x/y"), Known("b", "openai", "m:latest"))
    with contextlib.suppress(InvalidRequest, UnknownModel):
        target = found.resolve(name)
        assert target.workspace is not None or target.backend in ("a", "b")


def test_the_largest_live_model_answers_first_and_the_embedded_one_last() -> None:
    found = registry(
        Known("embedded", "embedded", "big-70b"),
        Known("a", "ollama", "small-1.5b", "large-14b"),
        Known("b", "openai", "mid-7b"),
    )
    assert answers(found) == ["a/large-14b", "b/mid-7b", "a/small-1.5b", "embedded/big-70b"]


def test_dead_backends_do_not_answer() -> None:
    found = registry(Known("a", "ollama", "m-70b", live=False), Known("b", "openai", "m2-1b"))
    assert answers(found) == ["b/m2-1b"]


def test_models_that_only_embed_do_not_answer() -> None:
    found = registry(Known("a", "ollama", "nomic-embed-text:latest", "bge-m3", "chat-1b"))
    assert answers(found) == ["a/chat-1b"]


def test_a_workspaces_own_model_comes_first_then_its_fallbacks_even_when_they_look_dead() -> None:
    found = registry(
        Known("a", "ollama", "one-1b", "two-70b"), Known("b", "openai", "three", live=False)
    )
    workspace = schema.Workspace(model="one-1b", fallback=("b/three",))
    assert answers(found, workspace) == ["a/one-1b", "b/three", "a/two-70b"]


@pytest.mark.parametrize(
    ("name", "parameters", "size"),
    [
        ("qwen2.5:7b", None, 7),
        ("Llama-3.1-8B-Instruct", None, 8),
        ("smollm2-135m-instruct", None, 0.135),
        ("phi3.5", None, 0),
        ("mixtral-8x7b", None, 0),
        ("anything", "7.6B", 7.6),
        ("qwen2.5-coder:1.5b-instruct-q4_K_M", None, 1.5),
    ],
)
def test_the_size_is_read_from_what_is_known(
    name: str, parameters: str | None, size: float
) -> None:
    assert billions(Model("a", name, "ollama", parameters=parameters)) == pytest.approx(size)


def test_a_bert_family_does_not_chat() -> None:
    assert not may_chat(Model("a", "my-model", "ollama", family="nomic-bert"))
    assert may_chat(Model("a", "robert-7b", "ollama"))
