"""Who stands before whom by the shipped hints: the order is what counts, not the numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.runtime.hints.hints import complete
from portal.shared.models import Model, Quality


def quality(name: str, **told: object) -> Quality:
    """Give the quality of a chat model of this name."""
    found = complete(Model("there", name, "ollama", **told)).quality  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.parametrize(
    "names",
    [
        # Of one generation, the larger one.
        ("qwen2.5:72b", "qwen2.5:32b", "qwen2.5:14b", "qwen2.5:7b", "qwen2.5:3b", "qwen2.5:0.5b"),
        ("qwen3:32b", "qwen3:14b", "qwen3:8b", "qwen3:4b", "qwen3:1.7b", "qwen3:0.6b"),
        ("llama3.1:405b", "llama3.1:70b", "llama3.1:8b"),
        ("llama3.3:70b", "llama3.2:3b", "llama3.2:1b", "smollm2:135m"),
        ("gemma3:27b", "gemma3:12b", "gemma3:4b", "gemma3:1b", "gemma3:270m"),
        ("deepseek-r1:671b", "deepseek-r1:70b", "deepseek-r1:14b", "deepseek-r1:1.5b"),
        ("gpt-oss:120b", "gpt-oss:20b"),
        ("mixtral:8x22b", "mixtral:8x7b", "mistral:7b"),
        ("smollm2:1.7b", "smollm2:360m", "smollm2:135m"),
        ("phi4:14b", "phi4-mini:3.8b"),
        ("unheard-of-70b", "unheard-of-7b", "unheard-of-1b"),
        # Of one size, the newer one.
        ("qwen3.5:9b", "qwen3:8b", "qwen2.5:7b", "qwen2:7b", "qwen:7b"),
        ("llama3.1:8b", "llama3:8b", "llama2:7b"),
        ("llama3.3:70b", "llama3.1:70b", "llama3:70b", "llama2:70b"),
        ("gemma4:31b", "gemma3:27b", "gemma2:27b"),
        ("mistral-small3.2:24b", "mistral-small:22b"),
        ("phi4:14b", "phi3:14b"),
        ("smollm3:3b", "smollm2:1.7b", "smollm:1.7b"),
        ("deepseek-v3.1:671b", "deepseek-v3:671b", "deepseek-v2:236b"),
        ("falcon3:7b", "falcon:7b"),
        # A newer small one before an older one that is larger.
        ("llama3.1:8b", "llama2:13b"),
        ("qwen2.5:7b", "codellama:13b"),
        ("llama3.2:3b", "falcon:7b"),
        ("gemma3:4b", "gemma:7b"),
        ("qwen3:14b", "llama2:70b"),
        ("qwen2.5:7b", "vicuna:13b"),
        # But size tells where the generations are near.
        ("llama3.1:70b", "qwen3:8b"),
        ("qwen2.5:14b", "llama3.1:8b"),
        ("qwen2.5:7b", "llama3.2:3b"),
        # Mixtures are worth less than all their parameters, and more than the active ones.
        ("qwen3:32b", "qwen3:30b", "qwen3:4b"),
        ("llama3.3:70b", "mixtral:8x7b"),
        ("qwen2.5:14b", "deepseek-v2:16b"),
        # Of one model, the one that kept more bits.
        ("llama3.1:8b-q4_K_M", "llama3.1:8b-q3_K_S", "llama3.1:8b-q2_K"),
        ("llama3.3:70b-q2_K", "llama3.1:8b-q8_0"),
        # What was not trained to chat answers worse.
        ("llama3.1:8b", "llama3.1:8b-text-q4_0"),
        ("Qwen2.5-7B-Instruct", "Qwen2.5-7B-base"),
        # Made for code or math, it knows less of the rest.
        ("qwen2.5:7b", "qwen2.5-coder:7b"),
        ("qwen2.5:7b", "qwen2.5-math:7b"),
        ("qwen2.5:7b", "deepseek-r1:7b"),
        ("qwen2.5:7b", "qwen2.5vl:7b", "llava:7b"),
    ],
)
def test_in_general_the_better_one_comes_first(names: tuple[str, ...]) -> None:
    points = [quality(name).general for name in names]
    assert points == sorted(points, reverse=True)
    assert len(set(points)) == len(points)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("qwen2.5-coder:7b", "qwen2.5:7b"),
        ("qwen2.5-coder:32b", "qwen2.5:32b"),
        ("qwen3-coder:30b", "qwen3:30b"),
        ("deepseek-coder-v2:16b", "deepseek-v2:16b"),
        ("codellama:7b", "llama2:7b"),
        ("codegemma:7b", "gemma:7b"),
        ("codestral:22b", "mistral-small:22b"),
        ("devstral:24b", "mistral-small3.1:24b"),
        ("granite-code:8b", "llama2:7b"),
        ("qwen2.5-coder:7b", "codellama:7b"),
        ("qwen2.5-coder:7b", "codellama:13b"),
        ("qwen2.5-coder:7b", "deepseek-coder:6.7b"),
        ("qwen2.5-coder:14b", "starcoder2:15b"),
        ("qwen2.5-coder:32b", "qwen2.5-coder:7b"),
        ("qwen2.5:32b", "qwen2.5-coder:1.5b"),
        ("llama3.3:70b", "codellama:7b"),
        ("unheard-of-coder-7b", "unheard-of-7b"),
    ],
)
def test_code_is_the_business_of_coders(better: str, worse: str) -> None:
    assert quality(better).code > quality(worse).code


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("deepseek-r1:7b", "qwen2.5:7b"),
        ("deepseek-r1:8b", "llama3.1:8b"),
        ("deepseek-r1:70b", "llama3.3:70b"),
        ("deepseek-r1:671b", "deepseek-v3:671b"),
        ("qwq:32b", "qwen2.5:32b"),
        ("qwen3:8b", "qwen2.5:7b"),
        ("Qwen3-30B-A3B-Thinking-2507", "Qwen3-30B-A3B-Instruct-2507"),
        ("phi4-reasoning:14b", "phi4:14b"),
        ("magistral:24b", "mistral-small3.1:24b"),
        ("gpt-oss:20b", "qwen2.5:14b"),
        ("exaone-deep:7.8b", "exaone3.5:7.8b"),
        ("deepseek-r1:32b", "deepseek-r1:7b"),
        ("llama3.3:70b", "deepseek-r1:1.5b"),
    ],
)
def test_thinking_first_helps_with_reasoning_and_math(better: str, worse: str) -> None:
    assert quality(better).reasoning > quality(worse).reasoning
    assert quality(better).math > quality(worse).math


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("qwen2.5-math:7b", "qwen2.5:7b"),
        ("mathstral:7b", "mistral:7b"),
        ("phi4:14b", "phi3:14b"),
        ("qwen2.5-math:72b", "qwen2.5-math:7b"),
    ],
)
def test_math_is_the_business_of_calculators(better: str, worse: str) -> None:
    assert quality(better).math > quality(worse).math


def test_thinking_that_the_server_tells_of_counts() -> None:
    plain = quality("unheard-of:7b", capabilities=("general",))
    thinks = quality("unheard-of:7b", capabilities=("general", "reasoning"))
    assert thinks.reasoning > plain.reasoning


def test_thinking_that_the_server_denies_does_not_count() -> None:
    denied = quality("qwen3:8b", capabilities=("general",))
    assert denied.reasoning < quality("qwen3:8b").reasoning


def test_the_unknown_is_middling_by_its_size() -> None:
    assert quality("qwen2.5:7b").general > quality("unheard-of-7b").general
    assert quality("unheard-of-7b").general > quality("llama2:7b").general
    assert quality("unheard-of").general == quality("unheard-of-7b").general


@given(
    small=st.floats(0.02, 2000, allow_nan=False),
    large=st.floats(0.02, 2000, allow_nan=False),
    name=st.sampled_from(["qwen3", "llama2", "deepseek-r1:8b", "unheard-of", "smollm", "x-coder"]),
)
def test_more_parameters_never_answer_worse(small: float, large: float, name: str) -> None:
    small, large = sorted((small, large))
    # The capabilities are told: what thinks and what does not is another comparison.
    worse = quality(name, billions=small, capabilities=("general",))
    better = quality(name, billions=large, capabilities=("general",))
    if not (name == "qwen3" and any(abs(large / size - 1) < 0.06 for size in (30, 235))):
        assert better.general >= worse.general
    assert 0 <= worse.general <= 100
    assert 0 <= better.code <= 100
