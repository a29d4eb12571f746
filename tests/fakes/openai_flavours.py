"""How the OpenAI-compatible servers differ: errors, model lists, and what else they serve.

`vllm` is strict about the model's name and wants its key under `/v1` only; `llamacpp` runs its
one model whatever it is called, `llamacpp-router` loads and unloads several; `lmstudio` answers
unknown paths with 200 and an error, `lmstudio-0.3` has the older of its own calls only; `localai`
tells nothing but names.
"""

import json
from typing import Any, Literal, get_args

from tests.fakes.playing import Reply

Flavour = Literal["vllm", "llamacpp", "llamacpp-router", "lmstudio", "lmstudio-0.3", "localai"]
LLAMACPP: frozenset[Flavour] = frozenset({"llamacpp", "llamacpp-router"})
LMSTUDIO: frozenset[Flavour] = frozenset({"lmstudio", "lmstudio-0.3"})
FLAVOURS: tuple[Flavour, ...] = get_args(Flavour)
CREATED = 1_767_225_600
CONTEXT = 32768
DEFAULT_MODELS: dict[Flavour, tuple[str, ...]] = {
    "vllm": ("Qwen/Qwen2.5-7B-Instruct",),
    "llamacpp": ("qwen2.5-7b-instruct-q4_k_m.gguf",),
    "llamacpp-router": ("qwen2.5-7b-instruct-q4_k_m", "gemma-3-4b-it-q4_0", "broken-1b"),
    "lmstudio": ("qwen2.5-7b-instruct", "text-embedding-nomic-embed-text-v1.5"),
    "lmstudio-0.3": ("qwen2.5-vl-7b-instruct", "text-embedding-nomic-embed-text-v1.5"),
    "localai": ("gpt-4",),
}


def fault(flavour: Flavour, status: int, message: str, *, param: str | None = None) -> Reply:
    """Word a refusal as this server does."""
    kinds = {400: "BadRequestError", 404: "NotFoundError", 500: "InternalServerError"}
    body: dict[str, Any]
    if flavour == "vllm":
        body = {"message": message, "type": kinds[status], "param": param, "code": status}
    elif flavour in LLAMACPP:
        types = {400: "invalid_request_error", 404: "not_found_error", 500: "server_error"}
        body = {"code": status, "message": message, "type": types[status]}
    else:
        body = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    return Reply(status, encode({"error": body}))


def unknown_model(flavour: Flavour, name: str) -> Reply:
    """Refuse a model that is not there."""
    if flavour == "vllm":
        return fault(flavour, 404, f"The model `{name}` does not exist.", param="model")
    body = {
        "message": f'Model "{name}" not found.',
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }
    return Reply(404, encode({"error": body}))


def unknown_path(flavour: Flavour, method: str, path: str) -> Reply:
    """Answer a path that this server does not have."""
    if flavour == "vllm":
        return Reply(404, encode({"detail": "Not Found"}))
    if flavour == "localai":
        return Reply(404, encode({"error": {"code": 404, "message": "Not Found", "type": ""}}))
    if flavour in LLAMACPP:
        return fault(flavour, 404, "File Not Found")
    # Not a slip: LM Studio answers 200 here (lmstudio-bug-tracker #618).
    return Reply(200, encode({"error": f"Unexpected endpoint or method. ({method} {path})"}))


def unauthorized(flavour: Flavour) -> Reply:
    """Refuse a missing or wrong key."""
    body: Any = "Unauthorized"
    if flavour in LLAMACPP:
        body = {"code": 401, "message": "Invalid API Key", "type": "authentication_error"}
    elif flavour in LMSTUDIO:
        body = {
            "message": "An LM Studio API token is required to make requests to this server.",
            "type": "invalid_request_error",
            "param": None,
            "code": "invalid_api_key",
        }
    return Reply(401, encode({"error": body}))


def is_public(flavour: Flavour, path: str) -> bool:
    """Whether a path needs no key."""
    if flavour == "vllm":
        return not path.startswith("/v1")
    if flavour in LLAMACPP:
        return path in {"/health", "/v1/health", "/models", "/v1/models"}
    return False


def model_list(flavour: Flavour, names: tuple[str, ...]) -> Reply:
    """List the models in this server's own shape."""
    rows = [model_row(flavour, name) for name in names]
    return Reply(200, encode({"object": "list", "data": rows}))


def model_row(flavour: Flavour, name: str) -> dict[str, Any]:
    """Describe one model."""
    row: dict[str, Any] = {"id": name, "object": "model"}
    if flavour == "vllm":
        return row | {
            "created": CREATED,
            "owned_by": "vllm",
            "root": name,
            "parent": None,
            "max_model_len": CONTEXT,
            "permission": [],
        }
    if flavour in LLAMACPP:
        return row | {
            "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
            "created": CREATED,
            "owned_by": "llamacpp",
            "meta": {
                "vocab_type": 2,
                "n_vocab": 152064,
                "n_ctx_train": CONTEXT,
                "n_embd": 3584,
                "n_params": 7_615_616_512,
                "size": 4_677_120_000,
            },
        }
    if flavour == "localai":
        return row
    return row | {"owned_by": "organization_owner"}


def routed_row(name: str, status: dict[str, Any]) -> dict[str, Any]:
    """Describe one model of a router, which tells more of what is loaded."""
    row = model_row("llamacpp-router", name) | {"status": status}
    return row if status["value"] == "loaded" else row | {"meta": None}


def properties(names: tuple[str, ...], context: int = CONTEXT) -> Reply:
    """Answer llama.cpp's `/props`."""
    settings = {"id": 0, "n_ctx": context, "speculative": False, "is_processing": False}
    return Reply(
        200,
        encode(
            {
                "default_generation_settings": settings,
                "total_slots": 4,
                "model_path": f"/models/{names[0]}" if names else "",
                "model_alias": names[0] if names else "",
                "model_ftype": "Q4_K - Medium",
                "chat_template": "{% for message in messages %}{{ message.content }}{% endfor %}",
                "chat_template_caps": {"supports_tools": True, "supports_tool_calls": True},
                "modalities": {"vision": False, "audio": False},
                "build_info": "b8681-fake",
                "is_sleeping": False,
            }
        ),
    )


def encode(value: Any) -> bytes:
    """Encode compactly, UTF-8 as it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
