"""What Ollama tells of a model, read from `/api/tags`, `/api/show` and `/api/ps`. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from portal.runtime.backends.tolerant import (
    billions,
    count_in_words,
    mapping,
    ordered,
    whole,
    words,
)
from portal.shared.models import Capability, Model

CAPABILITIES: Mapping[str, Capability] = {
    "completion": "general",
    "tools": "function_calling",
    "vision": "vision",
    "embedding": "embedding",
    "thinking": "reasoning",
}
"""Ollama's words for what Portal routes by; the others (insert, audio, image) are not among it."""
BYTES_PER_VALUE = 2
"""The cache of keys and values holds 16 bits a value unless the server is told otherwise."""


class Facts(msgspec.Struct, frozen=True):
    """What `/api/show` tells that does not change while the model's digest does not."""

    capabilities: tuple[Capability, ...] | None = None
    """None: an Ollama older than 0.6.4 does not tell."""
    context_window: int | None = None
    num_ctx: int | None = None
    """As its Modelfile has it."""
    parameter_count: int | None = None
    kv_bytes: int | None = None


def read_facts(shown: Mapping[str, Any]) -> Facts:
    """Read an answer of `/api/show`."""
    info = mapping(shown.get("model_info"))
    architecture = words(info.get("general.architecture")) or ""
    return Facts(
        capabilities(shown.get("capabilities")),
        whole(info.get(f"{architecture}.context_length")),
        num_ctx(shown.get("parameters")),
        whole(info.get("general.parameter_count")),
        kv_bytes(info, architecture),
    )


def read_model(
    backend: str, tag: Mapping[str, Any], facts: Facts | None, running: Mapping[str, Any] | None
) -> Model:
    """Put together a row of `/api/tags`, the facts, and the rows of `/api/ps` by model name.

    `running` is None where the server did not say what lies in its memory.
    """
    name = tag["name"]
    facts = facts or Facts()
    details = mapping(tag.get("details"))
    parameters = words(details.get("parameter_size")) or count_in_words(facts.parameter_count)
    count = facts.parameter_count
    served = None if running is None else whole(mapping(running.get(name)).get("context_length"))
    return Model(
        backend,
        name,
        "ollama",
        capabilities=facts.capabilities,
        context_window=facts.context_window,
        served_window=served or facts.num_ctx,
        parameters=parameters,
        billions=billions(parameters) if count is None else round(count / 1e9, 6),
        quantization=words(details.get("quantization_level")),
        family=words(details.get("family")),
        # A model of somebody else's computer is but a name here.
        size_bytes=None if words(tag.get("remote_host")) else whole(tag.get("size")),
        kv_bytes=facts.kv_bytes,
        digest=words(tag.get("digest")) or "",
        loaded=None if running is None else name in running,
        created=_unix(tag.get("modified_at")),
    )


def capabilities(told: Any) -> tuple[Capability, ...] | None:
    """Translate Ollama's list; None where there is none."""
    names = [each for each in told if isinstance(each, str)] if isinstance(told, list) else []
    if not names:
        return None
    return ordered({CAPABILITIES[name] for name in names if name in CAPABILITIES})


def num_ctx(parameters: Any) -> int | None:
    """Find the context that a Modelfile asks for in the text of its parameters."""
    for line in parameters.splitlines() if isinstance(parameters, str) else ():
        name, _, value = line.strip().partition(" ")
        if name == "num_ctx" and (value := value.strip()).isdecimal() and len(value) < 10:
            return whole(int(value))
    return None


def kv_bytes(info: Mapping[str, Any], architecture: str) -> int | None:
    """Reckon the memory of one more token of context; None where a part of it is not told.

    Of layers that look back over a sliding window only, or do not attend at all, nothing is
    counted where the model says how they are spaced: their share does not grow with the context.
    """

    def told(key: str) -> Any:
        return info.get(f"{architecture}.{key}")

    layers, heads = whole(told("block_count")), whole(told("attention.head_count"))
    if layers is None:
        return None
    has = {key.removeprefix(f"{architecture}.") for key in info}
    key_length, value_length = told("attention.key_length"), told("attention.value_length")
    embedding = whole(told("embedding_length"))
    each = embedding // heads if embedding and heads else None
    numbers = (whole(key_length) or each, whole(value_length) or each)
    if None in numbers:
        return None
    values = sum(number or 0 for number in numbers)
    per_layer = heads if "attention.head_count_kv" not in has else told("attention.head_count_kv")
    if isinstance(per_layer, list):
        counts = [count for count in per_layer if isinstance(count, int) and 0 <= count < 1 << 16]
        kv_heads = sum(counts) if len(counts) == len(per_layer) else 0
    else:
        # Null where it is long: Ollama leaves out long lists, and one per layer is long.
        kv_heads = (whole(per_layer) or 0) * _growing(layers, told)
    return whole(kv_heads * values * BYTES_PER_VALUE)


def _growing(layers: int, told: Any) -> int:
    """Count the layers whose memory grows with every token of context."""
    every = whole(told("full_attention_interval"))
    if whole(told("attention.sliding_window")):
        every = whole(told("attention.sliding_window_pattern"))
    return max(1, layers // every) if every else layers


def _unix(text: Any) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except (ValueError, TypeError, OverflowError):
        return 0
