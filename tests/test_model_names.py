"""What a model's name says of itself, in every dialect."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.runtime.hints.model_names import bits, in_words, read_name, read_numbers


@pytest.mark.parametrize(
    ("name", "billions", "active"),
    [
        ("qwen2.5:7b", 7, None),
        ("qwen2.5:0.5b", 0.5, None),
        ("smollm2:135m", 0.135, None),
        ("qwen2.5-coder:1.5b-instruct-q4_K_M", 1.5, None),
        ("Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", 8, None),
        ("hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M", 3, None),
        ("mlx-community/Qwen2.5-7B-Instruct-4bit", 7, None),
        ("qwen2.5-7b-instruct-1m", 7, None),
        ("qwen3:30b-a3b", 30, 3),
        ("Qwen/Qwen3-235B-A22B-Thinking-2507-FP8", 235, 22),
        ("granite-3.0-3b-a800m-instruct", 3, 0.8),
        ("Qwen1.5-MoE-A2.7B", None, 2.7),
        ("gemma3n:e4b", 8, 4),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", None, 17),
        ("stablelm-2-1_6b-chat", 1.6, None),
        ("kimi-k2:1t", 1000, None),
        ("tinyllama-1.1b-intermediate-step-1431k-3T", 1.1, None),
        ("llama-8b-from-300m-pairs", 8, None),
        ("phi3:mini", None, None),
        ("bge-m3", None, None),
        ("deepseek-v3", None, None),
        ("llama2", None, None),
        ("1000000b", None, None),
    ],
)
def test_sizes_are_read(name: str, billions: float | None, active: float | None) -> None:
    numbers = read_name(name).numbers
    assert (numbers.billions, numbers.active) == (billions, active)


@pytest.mark.parametrize(
    ("name", "billions", "active"), [("mixtral:8x7b", 46.7, 12.9), ("mixtral:8x22b", 141, 39)]
)
def test_experts_share_what_is_not_theirs(name: str, billions: float, active: float) -> None:
    numbers = read_name(name).numbers
    assert numbers.billions == pytest.approx(billions, rel=0.05)
    assert numbers.active == pytest.approx(active, rel=0.05)


@pytest.mark.parametrize(
    ("told", "billions"), [("7.6B", 7.6), ("134.52M", 0.13452), ("671.0B", 671), ("", None)]
)
def test_sizes_are_read_as_servers_write_them(told: str, billions: float | None) -> None:
    assert read_numbers(told).billions == billions


@pytest.mark.parametrize(
    ("name", "window"),
    [
        ("Phi-3-mini-128k-instruct", 131072),
        ("phi-3-mini-4k-instruct", 4096),
        ("yi-34b-200k", 200_000),
        ("qwen2.5-7b-instruct-1m", 1_000_000),
        ("qwen2.5:7b", None),
        ("smollm2:135m", None),
        ("kimi-k2", None),
        ("qwen2.5-coder:7b-q4_k_m", None),
        ("model-1k", None),
    ],
)
def test_windows_are_read(name: str, window: int | None) -> None:
    assert read_name(name).numbers.window == window


@pytest.mark.parametrize(
    ("name", "quantization"),
    [
        ("qwen2.5-coder:7b-instruct-q4_K_M", "Q4_K_M"),
        ("Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", "Q4_K_M"),
        ("llama3:8b-q8_0", "Q8_0"),
        ("Llama-3.3-70B-Instruct-IQ2_XXS.gguf", "IQ2_XXS"),
        ("Qwen3-30B-A3B-UD-Q4_K_XL.gguf", "Q4_K_XL"),
        ("qwen2.5-7b-instruct@q5_k_s", "Q5_K_S"),
        ("gemma2:9b-instruct-fp16", "FP16"),
        ("Qwen3-8B-BF16.gguf", "BF16"),
        ("Qwen/Qwen2.5-VL-7B-Instruct-AWQ", "AWQ"),
        ("Qwen2.5-7B-Instruct-GPTQ-Int4", "GPTQ-INT4"),
        ("Qwen3-235B-A22B-FP8", "FP8"),
        ("nvidia/Llama-3.1-8B-Instruct-NVFP4", "NVFP4"),
        ("gpt-oss-20b-MXFP4", "MXFP4"),
        ("Meta-Llama-3.1-8B-quantized.w4a16", "W4A16"),
        ("mlx-community/Qwen2.5-7B-Instruct-4bit", "4bit"),
        ("mlx-community/Qwen2.5-7B-Instruct-4-bits", "4bit"),
        ("gemma3:4b-it-qat", None),
        ("phi4", None),
        ("qwq:32b", None),
    ],
)
def test_quantisations_are_read(name: str, quantization: str | None) -> None:
    assert read_name(name).quantization == quantization


@pytest.mark.parametrize(
    ("quantization", "expected"),
    [
        ("Q4_K_M", 4),
        ("IQ2_XXS", 2),
        ("F16", 16),
        ("BF16", 16),
        ("W4A16", 4),
        ("GPTQ-INT4", 4),
        ("AWQ", 4),
        ("4bit", 4),
        ("EXL2", None),
        ("unknown", None),
        ("", None),
    ],
)
def test_bits_per_weight_follow(quantization: str, expected: float | None) -> None:
    assert bits(quantization) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Qwen/Qwen2.5-VL-7B-Instruct-AWQ", "qwen2.5-vl-7b-instruct-awq"),
        ("qwen2.5-coder:7b", "qwen2.5-coder-7b"),
        ("/srv/models/qwen2.5-7b/", "qwen2.5-7b"),
        ("C:\\models\\Qwen2.5-7B.gguf", "qwen2.5-7b"),
        (f"/hub/models--Qwen--Qwen2.5-7B/snapshots/{'0a' * 20}", "qwen2.5-7b"),
        ("", ""),
    ],
)
def test_what_stands_before_the_name_is_left_out(name: str, text: str) -> None:
    assert read_name(name).text == text


@pytest.mark.parametrize(
    ("billions", "words"),
    [(7, "7B"), (7.615, "7.62B"), (0.135, "135M"), (0.5, "500M"), (70, "70B"), (1000, "1T")],
)
def test_sizes_are_written_as_people_do(billions: float, words: str) -> None:
    assert in_words(billions) == words


@given(st.text(max_size=60) | st.from_regex(r"[a-z]{0,4}[0-9.]{1,400}[bkmtx_-]?[0-9a-z]*"))
def test_no_name_breaks_the_reading(name: str) -> None:
    numbers = read_name(name).numbers
    assert numbers.billions is None or numbers.billions > 0
    assert numbers.window is None or numbers.window >= 4096
    if name.isascii():
        assert read_name(name) == read_name(name.upper())
