"""OpenAI's list of models, with what Portal knows of each."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from portal.shared.models import (
    BackendStatus,
    BreakerState,
    Capability,
    Model,
    Quality,
    SpeedClass,
    Workspace,
)

PERSONA = "persona/"
"""What a persona's id is preceded by in model lists, so that it is no model's name."""


class ModelFacts(msgspec.Struct, omit_defaults=True):
    """Portal's own part of a model entry; what is absent nobody tells."""

    kind: Literal["workspace", "persona", "model"]
    description: str = ""
    backend: str = ""
    live: bool | None = None
    """Whether its backend answers now and has it; absent for a workspace and a persona."""
    loaded: bool | None = None
    """Whether it lies in the backend's memory now."""
    gone: bool = False
    """It was there once; the backend's last list does not have it."""
    breaker: BreakerState | None = None
    """Absent where it is closed: nothing is held against the model."""
    embedded: bool = False
    capabilities: tuple[Capability, ...] | None = None
    context_window: int | None = None
    """Tokens that the model can take in at most, prompt and answer together."""
    served_window: int | None = None
    """Tokens that it is served with, where that is less."""
    parameters: str | None = None
    """As people write it: 135M, 7.6B."""
    billions: float | None = None
    quantization: str | None = None
    family: str | None = None
    size_bytes: int | None = None
    """Of the weights."""
    kv_bytes: int | None = None
    """Memory that a token of context takes."""
    digest: str = ""
    speed: SpeedClass | None = None
    quality: Quality | None = None
    cost: float = 0.0
    """Price of a million tokens, as the settings have it."""
    guessed: tuple[str, ...] = ()
    """Names of the fields above that come from hints, not from the server or the settings."""


class ModelEntry(msgspec.Struct):
    """One model, in OpenAI's shape."""

    id: str
    created: int
    owned_by: str
    portal: ModelFacts
    object: Literal["model"] = "model"


class ModelList(msgspec.Struct):
    """All of them: workspaces first, then personas, then models."""

    data: list[ModelEntry]
    object: Literal["list"] = "list"


def list_entries(
    workspaces: Sequence[Workspace], models: Sequence[Model], backends: Sequence[BackendStatus]
) -> list[ModelEntry]:
    """Show everything that a request may name: workspaces, then personas, then models."""
    statuses = {status.name: status for status in backends}
    virtual = [workspace_entry(workspace) for workspace in workspaces]
    virtual.sort(key=lambda entry: entry.portal.kind == "persona")
    return virtual + [model_entry(model, statuses.get(model.backend)) for model in models]


def workspace_entry(workspace: Workspace) -> ModelEntry:
    """Show a workspace, or the one that a persona is, as a model."""
    facts = ModelFacts(
        "persona" if workspace.id.startswith(PERSONA) else "workspace",
        description=workspace.description,
    )
    return ModelEntry(workspace.id, 0, "portal", facts)


def model_entry(model: Model, backend: BackendStatus | None) -> ModelEntry:
    """Show a backend's model, with how its backend is."""
    there = backend is not None and backend.state in ("live", "standby", "starting")
    breakers = () if backend is None else backend.breakers
    states = [each.state for each in breakers if each.model == model.name]
    facts = ModelFacts(
        "model",
        backend=model.backend,
        live=there and not model.gone,
        loaded=model.loaded,
        gone=model.gone,
        breaker=next((state for state in states if state != "closed"), None),
        embedded=model.kind == "embedded",
        capabilities=model.capabilities,
        context_window=model.context_window,
        served_window=model.served_window,
        parameters=model.parameters,
        billions=model.billions,
        quantization=model.quantization,
        family=model.family,
        size_bytes=model.size_bytes,
        kv_bytes=model.kv_bytes,
        digest=model.digest,
        speed=model.speed,
        quality=model.quality,
        cost=model.cost,
        guessed=model.guessed,
    )
    return ModelEntry(model.id, model.created, model.backend, facts)
