"""Ollama's lists of models and what it shows of one, made from what Portal knows. Pure."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from portal.shared.errors import InvalidRequest, UnknownModel
from portal.shared.models import BackendStatus, Capability, Model, Persona, Target, Workspace

USABLE = ("live", "standby", "starting")
NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time, which Ollama's own client reads as `never`."""
CAPABILITIES: Mapping[Capability, str] = {
    "general": "completion",
    "function_calling": "tools",
    "vision": "vision",
    "embedding": "embedding",
    "reasoning": "thinking",
}
"""Ollama's words."""
ARCHITECTURE = "portal"
"""Of what is no model of its own."""

Resolve = Callable[[str], Target]


class Details(msgspec.Struct):
    """What a model is made of; texts are empty where nobody tells."""

    parent_model: str = ""
    format: str = ""
    family: str = ""
    families: list[str] = []
    parameter_size: str = ""
    quantization_level: str = ""


class Listed(msgspec.Struct):
    """A row of GET /api/tags."""

    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: Details


class Tags(msgspec.Struct):
    """Everything that a request may name: workspaces, then personas, then models."""

    models: list[Listed]


class Shown(msgspec.Struct, omit_defaults=True):
    """What POST /api/show tells of a workspace, a persona, or a model that is not on Ollama."""

    details: Details
    model_info: dict[str, Any]
    capabilities: list[str]
    modified_at: str
    modelfile: str
    parameters: str = ""
    template: str = ""
    system: str = ""


class Running(msgspec.Struct, omit_defaults=True):
    """A row of GET /api/ps, of a model that is not on Ollama."""

    name: str
    model: str
    size: int
    digest: str
    details: Details
    size_vram: int | None = None
    context_length: int | None = None


def list_tags(
    workspaces: Sequence[Workspace],
    models: Sequence[Model],
    backends: Sequence[BackendStatus],
    resolve: Resolve,
) -> Tags:
    """List what can be used now, in Ollama's shape."""
    virtual = sorted(workspaces, key=lambda each: each.id.startswith("persona/"))
    rows = [
        Listed(each.id, each.id, NEVER, 0, _digest(each.id), virtual_details()) for each in virtual
    ]
    for model in usable(models, backends):
        name = name_of(model, resolve)
        rows.append(
            Listed(
                name,
                name,
                _time(model),
                model.size_bytes or 0,
                model.digest or _digest(model.id),
                details_of(model),
            )
        )
    return Tags(rows)


def usable(models: Sequence[Model], backends: Sequence[BackendStatus]) -> list[Model]:
    """Leave out the models that are gone, and those of backends that do not answer."""
    there = {backend.name for backend in backends if backend.state in USABLE}
    return [model for model in models if not model.gone and model.backend in there]


def name_of(model: Model, resolve: Resolve) -> str:
    """Name a model as clients of Ollama expect it: plainly, where that means this one alone."""
    if model.kind == "ollama":
        try:
            target = resolve(model.name)
        except (InvalidRequest, UnknownModel):
            return model.id
        if (target.backend, target.model) == (model.backend, model.name):
            return model.name
    return model.id


def show_model(model: Model) -> Shown:
    """Show a model of another server."""
    window = model.served_window or model.context_window
    architecture = model.family or "unknown"
    info: dict[str, Any] = {"general.architecture": architecture}
    if model.billions:
        info["general.parameter_count"] = round(model.billions * 1e9)
    if window:
        info[f"{architecture}.context_length"] = window
    return Shown(
        details_of(model),
        info,
        _words(model.capabilities or ("general",)),
        _time(model),
        f"# {model.id}, which Portal reaches by itself\nFROM {model.id}\n",
        _parameters(num_ctx=model.served_window),
    )


def show_unlisted(target: Target) -> Shown:
    """Show a model that its backend does not list: all that is known is that it may be asked."""
    return show_model(Model(target.backend, target.model, target.kind or "openai"))


def show_workspace(workspace: Workspace, persona: Persona | None, models: Sequence[Model]) -> Shown:
    """Show a workspace, or the one that a persona is; `models` are those it may choose from.

    Its window is the least that any of them has, the embedded one counted only if it is alone.
    """
    chatting = [model for model in models if "general" in (model.capabilities or ("general",))]
    chosen = [model for model in chatting if model.kind != "embedded"] or chatting
    found = {each for model in chosen for each in model.capabilities or ()} | {"general"}
    windows = [window for m in chosen if (window := m.served_window or m.context_window)]
    info: dict[str, Any] = {"general.architecture": ARCHITECTURE}
    if windows:
        info[f"{ARCHITECTURE}.context_length"] = min(windows)
    return Shown(
        virtual_details(),
        info,
        _words([each for each in CAPABILITIES if each in found and each != "embedding"]),
        NEVER,
        f"# {workspace.description}\nFROM {workspace.id}\n",
        _parameters(temperature=None if persona is None else persona.temperature),
        system="" if persona is None else persona.system,
    )


def show_running(model: Model, resolve: Resolve) -> Running:
    """Show a model that lies in its server's memory."""
    name = name_of(model, resolve)
    return Running(
        name,
        name,
        model.size_bytes or 0,
        model.digest or _digest(model.id),
        details_of(model),
        context_length=model.served_window or model.context_window,
    )


def details_of(model: Model) -> Details:
    """Say what a model is made of."""
    return Details(
        format="" if model.kind == "openai" else "gguf",
        family=model.family or "",
        families=[model.family] if model.family else [],
        parameter_size=model.parameters or "",
        quantization_level=model.quantization or "",
    )


def virtual_details() -> Details:
    """Say that it is no model of its own."""
    return Details(format=ARCHITECTURE, family=ARCHITECTURE, families=[ARCHITECTURE])


def _words(capabilities: Sequence[Capability]) -> list[str]:
    return [CAPABILITIES[each] for each in capabilities if each in CAPABILITIES]


def _parameters(**values: float | None) -> str:
    return "\n".join(f"{name:<30} {value:g}" for name, value in values.items() if value is not None)


def _time(model: Model) -> str:
    if not model.created:
        return NEVER
    return datetime.fromtimestamp(model.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _digest(name: str) -> str:
    """Make a digest: Ollama's own client cuts twelve letters off one without looking."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
