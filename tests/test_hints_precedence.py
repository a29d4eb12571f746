"""The server before the hints, the settings before both; and the shipped file itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.runtime.hints.hint_table import load_hints, recognise
from portal.runtime.hints.hints import complete, matches, may_chat
from portal.runtime.ops import schema
from portal.shared.models import Model, Quality

NAMES = st.sampled_from(
    ["qwen2.5-coder:7b-q4_K_M", "qwq:32b", "nomic-embed-text", "whisper", "x", "gpt-oss:20b", "a/b"]
) | st.text(max_size=20)


def test_what_the_server_told_stays() -> None:
    told = Model(
        "there",
        "qwen3:8b-q4_K_M",
        "ollama",
        capabilities=("general", "vision"),
        context_window=777,
        served_window=555,
        parameters="8.19B",
        billions=8.19,
        quantization="F16",
        family="mine",
        speed="slow",
        quality=Quality(1, 2, 3, 4),
        loaded=True,
    )
    assert complete(told) == told


def test_a_server_that_tells_capabilities_is_asked_no_more_about_what_it_can_say() -> None:
    found = complete(Model("there", "llava:7b", "ollama", capabilities=("general",)))
    assert found.capabilities == ("general",)
    found = complete(Model("there", "llama2:7b", "ollama", capabilities=("general", "vision")))
    assert found.capabilities == ("general", "vision")
    assert "capabilities" not in found.guessed


def test_what_no_server_tells_is_added_to_its_capabilities() -> None:
    found = complete(Model("there", "deepseek-coder:1.3b", "ollama", capabilities=("general",)))
    assert found.capabilities == ("general", "code", "speed")
    found = complete(Model("there", "qwq:32b", "ollama", capabilities=("general",)))
    assert "reasoning" in (found.capabilities or ())
    found = complete(Model("there", "embed-coder-1b", "ollama", capabilities=("embedding",)))
    assert found.capabilities == ("embedding",)


def test_a_model_that_the_server_says_chats_has_a_quality_whatever_its_name() -> None:
    found = complete(Model("there", "embed-7b", "ollama", capabilities=("general",)))
    assert found.quality is not None
    assert may_chat(found)


def test_hinted_fields_are_named_as_guessed() -> None:
    found = complete(Model("there", "qwen2.5:7b-q4_K_M", "openai"))
    assert found.guessed == (
        "capabilities",
        "context_window",
        "parameters",
        "billions",
        "quantization",
        "family",
        "speed",
        "quality",
    )


def test_what_nobody_knows_is_neither_filled_nor_guessed() -> None:
    found = complete(Model("there", "unheard-of", "openai"))
    assert found.context_window is None
    assert (found.parameters, found.billions, found.family) == (None, None, None)
    assert found.guessed == ("capabilities", "speed", "quality")


@pytest.mark.parametrize(
    ("told", "parameters", "billions"),
    [
        ({"parameters": "7.62B"}, "7.62B", 7.62),
        ({"billions": 7.62}, "7.62B", 7.62),
        ({"parameters": "8x7B"}, "8x7B", 45.92),
    ],
)
def test_a_size_that_the_server_told_in_one_form_is_no_guess_in_the_other(
    told: dict[str, object], parameters: str, billions: float
) -> None:
    found = complete(Model("there", "my-own", "ollama", **told))  # type: ignore[arg-type]
    assert (found.parameters, found.billions) == (parameters, billions)
    assert not {"parameters", "billions"} & set(found.guessed)


def test_settings_have_the_last_word() -> None:
    told = Model("there", "qwen2.5:7b", "ollama", context_window=32768, capabilities=("general",))
    facts = schema.ModelFacts(
        "there/qwen2.5:7b",
        capabilities=("vision", "general"),
        context_window=65536,
        quality=91,
        speed="fast",
        cost=0.5,
    )
    found = complete(told, [facts])
    assert found.capabilities == ("general", "vision")
    assert (found.context_window, found.served_window) == (65536, None)
    assert found.quality == Quality(91, 91, 91, 91)
    assert (found.speed, found.cost) == ("fast", 0.5)
    assert not {"capabilities", "context_window", "quality", "speed"} & set(found.guessed)


def test_a_smaller_window_of_the_settings_is_what_the_model_is_served_with() -> None:
    facts = [schema.ModelFacts("*", context_window=8192)]
    found = complete(Model("there", "qwen2.5:7b", "openai"), facts)
    assert (found.context_window, found.served_window) == (32768, 8192)
    assert "context_window" in found.guessed
    assert complete(Model("there", "unheard-of", "openai"), facts).context_window == 8192


def test_the_speed_of_the_settings_shows_in_the_capabilities() -> None:
    slow, fast = (schema.ModelFacts("*", speed=speed) for speed in ("slow", "fast"))
    small, large = Model("there", "llama3.2:3b", "openai"), Model("there", "qwq:32b", "openai")
    assert "speed" not in (complete(small, [slow]).capabilities or ())
    assert "speed" in (complete(large, [fast]).capabilities or ())
    embeds = Model("there", "bge-m3", "openai")
    assert complete(embeds, [fast]).capabilities == ("embedding",)


def test_the_last_that_matches_wins_field_by_field() -> None:
    facts = [
        schema.ModelFacts("there/qwen2.5:7b", quality=70, cost=1.0),
        schema.ModelFacts("*", quality=40, speed="slow"),
        schema.ModelFacts("elsewhere/*", quality=1, cost=9.0),
    ]
    found = complete(Model("there", "qwen2.5:7b", "ollama"), facts)
    assert found.quality == Quality(40, 40, 40, 40)
    assert (found.speed, found.cost) == ("slow", 1.0)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("vllm/Qwen/Qwen2.5-7B", True),
        ("VLLM/qwen/qwen2.5-7b", True),
        ("vllm/*", True),
        ("*/Qwen2.5-7B", True),
        ("*qwen*", True),
        ("*", True),
        ("Qwen/Qwen2.5-7B", False),
        ("vllm/Qwen/Qwen2.5", False),
        ("vllm/Qwen/Qwen2?5-7B", False),
        ("vllm/Qwen/Qwen2.5-[17]B", False),
        ("", False),
    ],
)
def test_only_the_star_stands_for_anything(pattern: str, expected: bool) -> None:
    model = Model("vllm", "Qwen/Qwen2.5-7B", "openai")
    assert matches(schema.ModelFacts(pattern), model) is expected


@given(NAMES, st.sampled_from([None, ("general",), ("embedding",), ()]), st.text(max_size=9))
def test_completing_twice_changes_nothing(name: str, told: object, parameters: str) -> None:
    model = Model("there", name, "openai", capabilities=told, parameters=parameters or None)  # type: ignore[arg-type]
    facts = [
        schema.ModelFacts("*a*", context_window=4096, speed="fast"),
        schema.ModelFacts("*e*", capabilities=("general",), quality=50),
    ]
    for given_facts in ((), facts):
        once = complete(model, given_facts)
        assert complete(once, given_facts) == once
        assert complete(model, given_facts) == once


@given(NAMES)
def test_every_model_gets_capabilities_and_a_speed(name: str) -> None:
    found = complete(Model("there", name, "openai"))
    assert found.capabilities is not None
    assert found.speed is not None
    assert (found.quality is not None) == ("general" in found.capabilities)


# --------------------------------------------------------------------------------- hints.toml


def test_the_file_is_read_once() -> None:
    assert load_hints() is load_hints()


def families() -> list[tuple[str, float | None]]:
    """List every family of the file with its usual size."""
    return [(each.name, each.size) for maker in load_hints().makers for each in maker.families]


@pytest.mark.parametrize(("name", "size"), families())
def test_every_family_is_reached_by_its_own_name(name: str, size: float | None) -> None:
    found = recognise(name, "", size).family
    assert found is not None
    assert found.name == name


def test_every_family_has_a_stem_that_its_name_contains() -> None:
    for maker in load_hints().makers:
        for family in maker.families:
            assert any(stem in family.name for stem in maker.stems), family.name


def test_no_family_is_shadowed_by_one_above_it() -> None:
    """The same name, matched alike, would need an upper bound on all but the last."""
    for maker in load_hints().makers:
        seen: dict[tuple[str, str], float] = {}
        for family in maker.families:
            key = (family.name, family.match)
            assert family.up_to > seen.get(key, 0.0), family.name
            seen[key] = family.up_to


def test_the_scale_rises() -> None:
    points = load_hints().scale.points
    assert list(points) == sorted(points)
    assert [quality for _, quality in points] == sorted(quality for _, quality in points)
