"""OpenAI's list of models, with what Portal knows of each."""

from typing import Literal

import msgspec

from portal.shared.models import BackendStatus, Model, Workspace


class ModelFacts(msgspec.Struct, omit_defaults=True):
    """Portal's own part of a model entry."""

    kind: Literal["workspace", "model"]
    description: str = ""
    backend: str = ""
    live: bool | None = None
    """Whether its backend answers now; absent for a workspace."""
    embedded: bool = False
    context_window: int | None = None
    parameters: str | None = None
    quantization: str | None = None
    family: str | None = None
    size_bytes: int | None = None


class ModelEntry(msgspec.Struct):
    """One model, in OpenAI's shape."""

    id: str
    created: int
    owned_by: str
    portal: ModelFacts
    object: Literal["model"] = "model"


class ModelList(msgspec.Struct):
    """All of them, workspaces first."""

    data: list[ModelEntry]
    object: Literal["list"] = "list"


def workspace_entry(workspace: Workspace) -> ModelEntry:
    """Show a workspace as a model."""
    return ModelEntry(
        workspace.id, 0, "portal", ModelFacts("workspace", description=workspace.description)
    )


def model_entry(model: Model, backend: BackendStatus | None) -> ModelEntry:
    """Show a backend's model."""
    live = backend is not None and backend.state in ("live", "standby", "starting")
    return ModelEntry(
        model.id,
        model.created,
        model.backend,
        ModelFacts(
            "model",
            backend=model.backend,
            live=live,
            embedded=model.kind == "embedded",
            context_window=model.context_window,
            parameters=model.parameters,
            quantization=model.quantization,
            family=model.family,
            size_bytes=model.size_bytes,
        ),
    )
