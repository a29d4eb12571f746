"""What OpenAI-compatible servers tell of a model, beyond the name that all of them give. Pure.

A row of `/v1/models` carries more on vLLM and llama.cpp; LM Studio has lists of its own
(`/api/v1/models` since 0.4, `/api/v0/models` before), llama.cpp its `/props`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from portal.runtime.backends.tolerant import (
    billions,
    count_in_words,
    mapping,
    objects,
    ordered,
    whole,
    words,
)
from portal.shared.models import Capability, Model

# llama.cpp serves models that only embed under the same words as those that chat.
_EMBEDS = re.compile(r"embed|\bbge\b|\be5\b|\bgte\b|minilm|rerank", re.IGNORECASE)
# What the templates of models that think first have in them, as llama.cpp itself looks for it.
_THINKS = re.compile(r"<think>|enable_thinking|reasoning_content|reasoning_effort|<\|channel")


class Extra(msgspec.Struct, frozen=True):
    """What a server's own list or `/props` tells of one model."""

    capabilities: tuple[Capability, ...] | None = None
    context_window: int | None = None
    served_window: int | None = None
    parameters: str | None = None
    quantization: str | None = None
    family: str | None = None
    size_bytes: int | None = None
    loaded: bool | None = None
    instances: tuple[str, ...] = ()
    """Names by which LM Studio unloads it."""


def read_model(backend: str, row: Mapping[str, Any], extra: Extra | None) -> Model:
    """Put together a row of `/v1/models` and what else the server tells of that model."""
    extra = extra or Extra()
    meta = mapping(row.get("meta"))
    limit = whole(row.get("max_model_len"))
    count = whole(meta.get("n_params"))
    parameters = extra.parameters or count_in_words(count)
    loaded = extra.loaded
    if loaded is None and (state := words(mapping(row.get("status")).get("value"))):
        loaded = state == "loaded"
    return Model(
        backend,
        row["id"],
        "openai",
        capabilities=extra.capabilities,
        context_window=extra.context_window
        or whole(meta.get("n_ctx_train"))
        or whole(row.get("context_length"))
        or limit,
        served_window=extra.served_window or whole(meta.get("n_ctx")) or limit,
        parameters=parameters,
        billions=round(count / 1e9, 6) if count else billions(parameters),
        quantization=extra.quantization or words(meta.get("ftype")),
        family=extra.family,
        size_bytes=extra.size_bytes or whole(meta.get("size")),
        loaded=loaded,
        created=whole(row.get("created")) or 0,
    )


def owner(rows: Sequence[Mapping[str, Any]]) -> str:
    """Tell which server it is, as far as its rows do: vllm, llamacpp, … or nothing."""
    return words(rows[0].get("owned_by")) or "" if rows else ""


def is_router(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether it is a llama.cpp that loads and unloads models by itself."""
    return any("value" in mapping(row.get("status")) for row in rows)


def read_lmstudio(answer: Mapping[str, Any]) -> dict[str, Extra]:
    """Read `/api/v1/models`; the names of running instances mean their model too."""
    found: dict[str, Extra] = {}
    for row in objects(answer.get("models")):
        if (key := words(row.get("key"))) is None:
            continue
        instances = objects(row.get("loaded_instances"))
        names = tuple(name for each in instances if (name := words(each.get("id"))))
        able = mapping(row.get("capabilities"))
        windows = [mapping(each.get("config")).get("context_length") for each in instances]
        extra = Extra(
            _lmstudio_capabilities(
                words(row.get("type")),
                vision=able.get("vision") is True,
                tools=able.get("trained_for_tool_use") is True,
                thinks=bool(able.get("reasoning")),
            ),
            context_window=whole(row.get("max_context_length")),
            served_window=min(filter(None, map(whole, windows)), default=None),
            parameters=words(row.get("params_string")),
            quantization=words(mapping(row.get("quantization")).get("name")),
            family=words(row.get("architecture")),
            size_bytes=whole(row.get("size_bytes")),
            loaded=bool(instances),
            instances=names,
        )
        found |= dict.fromkeys((key, *names), extra)
    return found


def read_lmstudio_v0(answer: Mapping[str, Any]) -> dict[str, Extra]:
    """Read `/api/v0/models`."""
    found: dict[str, Extra] = {}
    for row in objects(answer.get("data")):
        if (key := words(row.get("id"))) is None:
            continue
        able = row.get("capabilities")
        kind, state = words(row.get("type")), words(row.get("state"))
        found[key] = Extra(
            _lmstudio_capabilities(
                kind,
                vision=kind == "vlm",
                tools=isinstance(able, list) and "tool_use" in able,
            ),
            context_window=whole(row.get("max_context_length")),
            served_window=whole(row.get("loaded_context_length")),
            quantization=words(row.get("quantization")),
            family=words(row.get("arch")),
            loaded=None if state is None else state == "loaded",
        )
    return found


def read_props(answer: Mapping[str, Any], name: str) -> Extra:
    """Read llama.cpp's `/props` about the model of this name."""
    modalities = mapping(answer.get("modalities"))
    caps = mapping(answer.get("chat_template_caps"))
    template = answer.get("chat_template")
    found: tuple[Capability, ...] | None = None
    if modalities and not _EMBEDS.search(name):
        able: set[Capability] = {"general"}
        if modalities.get("vision") is True:
            able.add("vision")
        if caps.get("supports_tools") is True or caps.get("supports_tool_calls") is True:
            able.add("function_calling")
        if isinstance(template, str) and _THINKS.search(template):
            able.add("reasoning")
        # An older one does not tell whether its template knows tools.
        found = ordered(able) if caps else None
    settings = mapping(answer.get("default_generation_settings"))
    asleep = answer.get("is_sleeping")
    return Extra(
        found,
        served_window=whole(settings.get("n_ctx")),
        quantization=words(answer.get("model_ftype")),
        loaded=not asleep if isinstance(asleep, bool) else None,
    )


def _lmstudio_capabilities(
    kind: str | None, *, vision: bool, tools: bool, thinks: bool = False
) -> tuple[Capability, ...] | None:
    match kind:
        case "embedding" | "embeddings":
            return ("embedding",)
        case "llm" | "vlm":
            able: set[Capability] = {"general"}
            able |= {"vision"} if vision else set()
            able |= {"function_calling"} if tools else set()
            able |= {"reasoning"} if thinks else set()
            return ordered(able)
    return None
