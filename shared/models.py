"""Models, backends and health, as the registry knows them and the APIs show them."""

from typing import Literal

import msgspec

BackendKind = Literal["ollama", "openai", "embedded"]
BackendState = Literal["unknown", "live", "dead", "starting", "standby", "absent"]
"""standby: starts on first use. absent: looked for, not there, and nobody configured it."""


class Model(msgspec.Struct, frozen=True, omit_defaults=True):
    """One model on one backend; None where the backend does not tell."""

    backend: str
    name: str
    kind: BackendKind
    context_window: int | None = None
    parameters: str | None = None
    quantization: str | None = None
    family: str | None = None
    size_bytes: int | None = None
    created: int = 0
    """Unix seconds of the last change, 0 when unknown."""

    @property
    def id(self) -> str:
        """`<backend>/<name>`, which always names this one."""
        return f"{self.backend}/{self.name}"


class Workspace(msgspec.Struct, frozen=True):
    """A virtual model: a way to choose one, and how it is spoken to."""

    id: str
    description: str


class Target(msgspec.Struct, frozen=True):
    """What a model name means: a workspace, or one model on one backend."""

    name: str
    """As the caller wrote it."""
    workspace: Workspace | None = None
    backend: str = ""
    model: str = ""
    kind: BackendKind | None = None


class BackendStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """A backend as health and `portal backends` show it."""

    name: str
    kind: BackendKind
    url: str
    state: BackendState
    configured: bool
    """Named in the settings, as opposed to found on this machine."""
    models: int = 0
    error: str = ""
    """One line: why it is not live, and what would help."""
    pid: int | None = None
    """The child process of an embedded backend."""


class Health(msgspec.Struct, frozen=True):
    """The state of the whole: degraded when a configured backend is down or no model can answer."""

    status: Literal["ok", "degraded"]
    version: str
    uptime_seconds: float
    ready: bool
    backends: tuple[BackendStatus, ...]
    problems: tuple[str, ...] = ()
    """One sentence each; empty when ok."""


class UsageRecord(msgspec.Struct, frozen=True):
    """One answer, as it is counted."""

    at: float
    """Unix seconds, UTC."""
    user: str
    key: str
    backend: str
    model: str
    input_tokens: int
    output_tokens: int
    estimated: bool


class FunctionInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function as `portal functions` lists it."""

    name: str
    trigger: Literal["route", "event", "schedule", "tool"]
    detail: str
    """`POST /v1/…`, the topic, the times, or the category."""
    scope: str = ""
    summary: str = ""
