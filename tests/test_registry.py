"""What model names mean, and what is known of each model."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.runtime.ops import schema
from portal.runtime.routing.registry import Registry
from portal.shared.errors import ConfigurationError, InvalidRequest, UnknownModel
from portal.shared.models import BackendKind, Model, Persona, Workspace


class Known:
    """A backend, as far as the registry looks at one."""

    def __init__(self, name: str, kind: BackendKind, *models: str, live: bool = True) -> None:
        self.name = name
        self.kind = kind
        self.available = live
        self.told = tuple(Model(name, model, kind) for model in models)

    def models(self) -> Sequence[Model]:
        return self.told


def settings(**sections: Any) -> schema.Settings:
    return schema.Settings(data_dir=Path("data"), state_dir=Path("state"), **sections)


def registry(
    *backends: Known, memory: int | None = None, **workspaces: schema.Workspace
) -> Registry:
    """Make a registry that has seen these backends."""
    made = settings(workspaces=workspaces)
    return Registry(backends, made, memory=memory)  # type: ignore[arg-type]  # what is looked at


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
    assert [workspace.id for workspace in found.workspaces()][::5] == ["auto", "mine"]
    assert found.resolve("auto").workspace is not None
    assert found.resolve("mine").workspace is not None
    assert found.resolve("a/mine").workspace is None


@given(st.text(max_size=40))
def test_any_name_is_a_target_or_a_clear_refusal(name: str) -> None:
    found = registry(Known("a", "ollama", "m:latest", "x/y"), Known("b", "openai", "m:latest"))
    with contextlib.suppress(InvalidRequest, UnknownModel):
        target = found.resolve(name)
        assert target.workspace is not None or target.backend in ("a", "b")


def test_the_shipped_workspaces_come_first_and_settings_change_only_what_they_say() -> None:
    own = schema.Workspace(temperature=0.9)
    backend = Known("a", "ollama", "m")
    found = Registry([backend], settings(workspaces={"auto-coding": own}))  # type: ignore[list-item]
    assert [each.id for each in found.workspaces()] == [
        "auto",
        "auto-coding",
        "auto-reasoning",
        "auto-fast",
        "auto-vision",
    ]
    coding = found.profile("auto-coding")
    assert (coding.temperature, coding.prefer) == (0.9, ("code",))
    assert found.profile("auto-vision").require == ("vision",)


def test_a_persona_stands_on_its_workspace_and_is_named_with_its_prefix() -> None:
    found = registry(Known("a", "ollama", "m"), coder=schema.Workspace(system="Base.", model="m"))
    found.set_personas([Persona("poet", "Poet", "Rhymes.", "Rhyme.", workspace="coder")])
    assert found.resolve("persona/poet").workspace == Workspace("persona/poet", "Rhymes.")
    profile = found.profile("persona/poet")
    assert (profile.system, profile.model) == ("Base.\n\nRhyme.", "m")
    found.set_personas([])
    with pytest.raises(UnknownModel):
        found.resolve("persona/poet")


def test_a_persona_on_an_unknown_workspace_is_refused_and_those_before_stay() -> None:
    found = registry(Known("a", "ollama", "m"))
    found.set_personas([Persona("poet", "Poet", "Rhymes.", "Rhyme.")])
    with pytest.raises(ConfigurationError, match="'nowhere', which does not exist"):
        found.set_personas([Persona("poet", "Poet", "", "Rhyme.", workspace="nowhere")])
    assert [each.id for each in found.personas()] == ["poet"]


def test_what_the_server_does_not_tell_comes_from_hints_and_is_marked() -> None:
    found = registry(Known("a", "ollama", "qwen2.5-coder:7b"))
    model = found.find("a", "qwen2.5-coder:7b")
    assert model is not None
    assert "code" in (model.capabilities or ())
    assert "capabilities" in model.guessed


def test_settings_say_what_a_model_can_do_and_how_large_its_window_is() -> None:
    facts = schema.ModelFacts("a/*", capabilities=("general", "vision"), context_window=9000)
    backend = Known("a", "ollama", "mystery")
    found = Registry([backend], settings(models=(facts,)))  # type: ignore[list-item]
    model = found.find("a", "mystery")
    assert model is not None
    assert model.capabilities == ("general", "vision")
    assert model.served_window == 9000


def test_an_ollama_model_is_served_with_the_window_that_fits_the_memory() -> None:
    told = Model("a", "m", "ollama", context_window=131072, size_bytes=4 << 30, kv_bytes=131072)
    backend = Known("a", "ollama")
    backend.told = (told,)
    windows = []
    for gib in (10, 64):
        model = registry(backend, memory=gib << 30).find("a", "m")
        assert model is not None
        windows.append(model.served_window)
    assert windows == [8192, 32768]


def test_a_vanished_model_does_not_make_a_name_ambiguous() -> None:
    one, other = Known("a", "ollama", "m"), Known("b", "openai")
    other.told = (Model("b", "m", "openai", gone=True),)
    assert registry(one, other).resolve("m").backend == "a"
