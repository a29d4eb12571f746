"""What the shipped hints say of well-known models, by whatever name they come."""

import pytest

from portal.runtime.hints.hints import billions, complete, may_chat
from portal.shared.models import Capability, Model

TOOLS: Capability = "function_calling"


def known(name: str, **told: object) -> Model:
    """Complete a model of which the server tells its name, and `told`."""
    return complete(Model("there", name, "ollama", **told))  # type: ignore[arg-type]


def can(name: str) -> set[str]:
    """Name what a model of this name can do."""
    return set(known(name).capabilities or ())


# ------------------------------------------------------------------- which family, which window


@pytest.mark.parametrize(
    ("name", "family", "window"),
    [
        ("qwen:7b", "qwen1.5", 32768),
        ("qwen2:7b", "qwen2", 32768),
        ("qwen2.5-coder:7b-instruct-q4_K_M", "qwen2.5", 32768),
        ("qwen2.5-7b-instruct-1m", "qwen2.5", 1_000_000),
        ("Qwen/Qwen2.5-VL-7B-Instruct-AWQ", "qwen2.5-vl", 128000),
        ("qwen2.5vl:7b", "qwen2.5-vl", 128000),
        ("qwen3:8b", "qwen3", 40960),
        ("qwen3:4b-instruct-2507-q4_K_M", "qwen3-2507", 262144),
        ("qwen3-vl:8b", "qwen3-vl", 262144),
        ("qwen3.5:9b", "qwen3.5", 262144),
        ("unsloth/Qwen3.6-35B-A3B-GGUF", "qwen3.6", 262144),
        ("llama2:13b", "llama2", 4096),
        ("llama3:8b", "llama3", 8192),
        ("Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", "llama3.1", 131072),
        ("hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M", "llama3.2", 131072),
        ("llama3.2-vision:11b", "llama3.2-vision", 131072),
        ("llama3.3:70b", "llama3.3", 131072),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", "llama4-scout", 10485760),
        ("llama4:maverick", "llama4-maverick", 1048576),
        ("codellama:7b", "codellama", 16384),
        ("gemma2:9b", "gemma2", 8192),
        ("gemma3:1b-it-qat", "gemma3", 32768),
        ("gemma3:4b", "gemma3", 131072),
        ("gemma3n:e4b", "gemma3n", 32768),
        ("google/gemma-4-26B-A4B-it", "gemma4", 262144),
        ("gemma4:e4b", "gemma4", 131072),
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistral", 32768),
        ("mistral-nemo:12b", "mistral-nemo", 131072),
        ("mistral-small:22b", "mistral-small", 32768),
        ("mistralai/Mistral-Small-3.1-24B-Instruct-2503", "mistral-small3.1", 131072),
        ("ministral-3:8b", "ministral3", 262144),
        ("mistralai/Ministral-3b-instruct", "ministral", 131072),
        ("mixtral:8x22b", "mixtral", 65536),
        ("deepseek-r1:8b", "deepseek-r1", 131072),
        ("deepseek-r1:671b", "deepseek-r1", 163840),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "deepseek-r1", 131072),
        ("deepseek-coder:6.7b", "deepseek-coder", 16384),
        ("deepseek-coder-v2:16b", "deepseek-coder-v2", 163840),
        ("phi3:mini", "phi3", 4096),
        ("Phi-3-mini-128k-instruct", "phi3", 131072),
        ("phi4:14b", "phi4", 16384),
        ("microsoft/Phi-4-mini-instruct", "phi4-mini", 131072),
        ("granite3.3:8b", "granite3", 131072),
        ("ibm-granite/granite-4.0-h-tiny", "granite4-tiny", 131072),
        ("smollm2:135m", "smollm2", 8192),
        ("HuggingFaceTB/SmolLM3-3B", "smollm3", 65536),
        ("SmolVLM2-2.2B-Instruct", "smolvlm", 8192),
        ("openai/gpt-oss-20b", "gpt-oss", 131072),
        ("command-r:35b", "command-r", 131072),
        ("CohereForAI/c4ai-command-r-plus-08-2024", "command-r-plus", 131072),
        ("aya-expanse:8b", "aya-expanse", 8192),
        ("yi:34b", "yi", 4096),
        ("GLM-4.5-Air", "glm-4.5-air", 131072),
        ("zai-org/GLM-4.5V", "glm-4.5v", 65536),
        ("glm4:9b", "glm-4", 32768),
        ("openbmb/MiniCPM-V-2_6", "minicpm-v", 32768),
        ("llava-llama3:8b", "llava", 4096),
        ("starcoder2:15b", "starcoder2", 16384),
        ("nvidia/Llama-3.1-Nemotron-70B-Instruct-HF", "nemotron", 131072),
        ("NousResearch/Hermes-3-Llama-3.1-8B", "llama3.1", 131072),
        ("dolphin3:8b", "dolphin3", 131072),
        ("OpenGVLab/InternVL3-8B", "internvl3", 32768),
        ("kimi-k2:1t", "kimi-k2", 262144),
        ("exaone3.5:7.8b", "exaone", 32768),
        ("baidu/ERNIE-4.5-21B-A3B-PT", "ernie-4.5", 131072),
        ("text-embedding-nomic-embed-text-v1.5", "nomic-embed-text", 8192),
        ("bge-m3", "bge-m3", 8192),
        ("some-new-model-13b", None, None),
        ("mallama-7b", None, None),
        ("dolphin-phi3x", "dolphin", 16384),
    ],
)
def test_families_are_found_in_every_dialect(
    name: str, family: str | None, window: int | None
) -> None:
    found = known(name)
    assert (found.family, found.context_window) == (family, window)


def test_the_servers_family_helps_where_the_name_says_nothing() -> None:
    found = known("my-own:latest", family="qwen25vl", parameters="8.3B")
    assert found.context_window == 128000
    assert "vision" in (found.capabilities or ())
    assert not may_chat(known("my-own", family="nomic-bert"))
    assert found.family == "qwen25vl"


def test_the_name_goes_before_the_servers_family() -> None:
    # Ollama calls the architecture of this one `qwen3`.
    found = known("deepseek-r1:8b", family="qwen3")
    assert found.context_window == 131072


# --------------------------------------------------------------------------- what they can do


@pytest.mark.parametrize(
    ("name", "has", "has_not"),
    [
        ("qwen2.5:7b", {"general", TOOLS}, {"vision", "reasoning", "code", "speed"}),
        ("qwen2.5-coder:7b", {"general", "code", TOOLS}, {"vision"}),
        ("qwen2.5vl:7b", {"general", "vision"}, {"embedding"}),
        ("qwen2.5-math:7b", {"math"}, {"code"}),
        ("qwen3:8b", {"reasoning", TOOLS, "math"}, {"vision"}),
        ("qwen3:4b-instruct-2507", {TOOLS, "speed"}, {"reasoning"}),
        ("Qwen3-30B-A3B-Thinking-2507", {"reasoning", "code"}, {"speed"}),
        ("qwen3-coder:30b", {"code", TOOLS, "speed"}, {"reasoning"}),
        ("qwq:32b", {"reasoning", "math", TOOLS}, {"vision"}),
        ("qvq:72b", {"reasoning", "vision"}, set()),
        ("qwen2.5-omni-7b", {"general", "vision"}, set()),
        ("llama3.2:3b", {"general", TOOLS, "speed"}, {"vision"}),
        ("llama3.2-vision:11b", {"vision"}, {"speed"}),
        ("llama4:scout", {"vision", TOOLS}, {"speed"}),
        ("llama2:7b", {"general"}, {TOOLS}),
        ("gemma3:4b", {"vision", "speed"}, {TOOLS}),
        ("gemma3:1b", {"general", "speed"}, {"vision"}),
        ("gemma4:e4b", {"vision", TOOLS, "reasoning"}, set()),
        ("codegemma:7b", {"code"}, {"vision"}),
        ("medgemma:4b", {"general", "vision"}, set()),
        ("mistral-small3.2:24b", {"vision", TOOLS}, {"speed"}),
        ("mistral-small:24b", {TOOLS}, {"vision"}),
        ("pixtral-12b", {"vision", TOOLS}, set()),
        ("codestral:22b", {"code"}, {"vision"}),
        ("devstral:24b", {"code", TOOLS}, {"vision"}),
        ("magistral:24b", {"reasoning", "math"}, {"speed"}),
        ("deepseek-r1:7b", {"reasoning", "general"}, {"speed"}),
        ("deepseek-coder-v2:16b", {"code", "speed"}, {"reasoning"}),
        ("phi4-reasoning:14b", {"reasoning", "math"}, {"vision"}),
        ("Phi-3.5-vision-instruct", {"vision"}, {TOOLS}),
        ("phi4-multimodal", {"vision", TOOLS}, set()),
        ("granite3.2-vision:2b", {"vision"}, {"code"}),
        ("granite-code:8b", {"code"}, {"vision"}),
        ("gpt-oss:20b", {"reasoning", TOOLS}, {"vision"}),
        ("GLM-4.5V", {"vision", "reasoning"}, set()),
        ("minicpm-v:8b", {"vision"}, set()),
        ("bakllava", {"vision"}, {TOOLS}),
        ("moondream", {"vision", "speed"}, {TOOLS}),
        ("wizardcoder:33b", {"code"}, {TOOLS}),
        ("codellama:7b-code", {"code"}, {TOOLS}),
        ("NousResearch/Hermes-3-Llama-3.1-8B", {TOOLS}, {"reasoning"}),
        ("exaone-deep:7.8b", {"reasoning"}, {"speed"}),
        ("unheard-of-coder-7b", {"general", "code", TOOLS}, {"vision"}),
        ("unheard-of-vl-7b", {"general", "vision"}, {"code"}),
        ("unheard-of-1b", {"general", "speed"}, {TOOLS}),
        ("unheard-of", {"general", TOOLS}, {"speed", "vision"}),
        ("llama3.1:8b-text-q4_0", {"general"}, {TOOLS}),
    ],
)
def test_capabilities_follow_from_the_name(name: str, has: set[str], has_not: set[str]) -> None:
    found = can(name)
    assert has <= found
    assert not has_not & found


@pytest.mark.parametrize(
    ("name", "all_it_can"),
    [
        ("nomic-embed-text:latest", {"embedding"}),
        ("text-embedding-nomic-embed-text-v1.5", {"embedding"}),
        ("mxbai-embed-large", {"embedding"}),
        ("BAAI/bge-small-en-v1.5", {"embedding"}),
        ("thenlper/gte-large", {"embedding"}),
        ("intfloat/multilingual-e5-large", {"embedding"}),
        ("snowflake-arctic-embed2", {"embedding"}),
        ("all-minilm:22m", {"embedding"}),
        ("sentence-transformers/all-mpnet-base-v2", {"embedding"}),
        ("jinaai/jina-embeddings-v3", {"embedding"}),
        ("qwen3-embedding:0.6b", {"embedding"}),
        ("embeddinggemma:300m", {"embedding"}),
        ("granite-embedding:30m", {"embedding"}),
        ("text-embedding-3-small", {"embedding"}),
        ("bert-base-uncased", {"embedding"}),
        ("xlm-roberta-base", {"embedding"}),
        ("Qwen/Qwen3-Reranker-4B", set()),
        ("bge-reranker-v2-m3", set()),
        ("whisper-large-v3", set()),
        ("faster-whisper-small", set()),
        ("kokoro-tts", set()),
        ("outetts-0.2-500m", set()),
        ("deepseek-ocr:3b", {"vision"}),
        ("allenai/olmOCR-7B-0225-preview", {"vision"}),
        ("llama-guard3:8b", set()),
        ("shieldgemma:2b", set()),
        ("granite3-guardian:8b", set()),
        ("Qwen3Guard-Gen-8B", set()),
        ("gpt-oss-safeguard:20b", set()),
        ("flux.1-dev", set()),
    ],
)
def test_models_for_other_things_do_not_chat(name: str, all_it_can: set[str]) -> None:
    found = known(name)
    assert set(found.capabilities or ()) == all_it_can
    assert not may_chat(found)
    assert found.quality is None


@pytest.mark.parametrize(
    "name",
    [
        "integrate-7b",
        "de5",
        "vlad-7b",
        "r12-7b",
        "albert-einstein",
        "robert-7b",
        "decoder-7b",
        "bodyguard-7b",
        "mediocre-7b",
        "database-7b",
        "rethinker-7b",
    ],
)
def test_parts_of_words_mean_nothing(name: str) -> None:
    assert can(name) == {"general", TOOLS}


def test_capabilities_come_in_the_order_of_their_type() -> None:
    found = known("gemma4:e4b").capabilities
    assert found == ("general", "math", "reasoning", "vision", "speed", TOOLS)


# -------------------------------------------------------------------------------- size and speed


@pytest.mark.parametrize(
    ("name", "size", "speed"),
    [
        ("smollm2:135m", 0.135, "fast"),
        ("phi3:mini", 3.8, "fast"),
        ("qwen2.5:7b", 7, "medium"),
        ("phi4", 14, "medium"),
        ("qwen2.5:32b", 32, "slow"),
        ("qwen3:32b", 32, "slow"),
        ("qwen3:30b", 30, "fast"),
        ("qwen3:235b", 235, "slow"),
        ("Qwen3-Next-80B-A3B-Instruct", 80, "medium"),
        ("gpt-oss:20b", 20, "fast"),
        ("gpt-oss:120b", 120, "medium"),
        ("mixtral:8x7b", 45.92, "medium"),
        ("llama4:scout", 109, "slow"),
        ("Llama-4-Maverick-17B-128E", 400, "slow"),
        ("deepseek-r1:1.5b", 1.5, "medium"),
        ("gemma3n:e4b", 8, "fast"),
        ("granite4:tiny-h", 7, "fast"),
        ("unheard-of", None, "medium"),
    ],
)
def test_speed_follows_from_what_is_active(name: str, size: float | None, speed: str) -> None:
    found = known(name)
    assert (found.billions, found.speed) == (size, speed)
    assert billions(Model("there", name, "ollama")) == (size or 0.0)


def test_a_dense_neighbour_of_a_mixture_is_not_taken_for_it() -> None:
    mixture, dense = known("qwen3", billions=30.5), known("qwen3", billions=32.8)
    assert (mixture.speed, dense.speed) == ("fast", "slow")
