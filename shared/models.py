"""Models, backends and health, as the registry knows them and the APIs show them."""

from typing import Literal

import msgspec

BackendKind = Literal["ollama", "openai", "embedded"]
BackendState = Literal["unknown", "live", "dead", "starting", "standby", "absent"]
"""standby: starts on first use. absent: looked for, not there, and nobody configured it."""

Capability = Literal[
    "general", "code", "math", "reasoning", "vision", "speed", "function_calling", "embedding"
]
"""general: answers a chat at all. reasoning: thinks before it answers, or is made for it.
speed: answers within a moment on common hardware. embedding: turns text into vectors."""
SpeedClass = Literal["fast", "medium", "slow"]
BreakerState = Literal["closed", "open", "half_open"]


class Quality(msgspec.Struct, frozen=True):
    """How good a model's answers are, from 0 to 100, by kind of question."""

    general: int
    code: int
    math: int
    reasoning: int


class Model(msgspec.Struct, frozen=True, omit_defaults=True):
    """One model on one backend; None where nobody tells: not the server, no hint, no setting."""

    backend: str
    name: str
    kind: BackendKind
    capabilities: tuple[Capability, ...] | None = None
    """In the order of `Capability`."""
    context_window: int | None = None
    """Tokens that the model can take in at most, prompt and answer together."""
    served_window: int | None = None
    """Tokens that it is served with, where that is less: Ollama's num_ctx, vLLM's limit."""
    parameters: str | None = None
    """As people write it: 135M, 7.6B."""
    billions: float | None = None
    """The same as a number; of a mixture of experts, all of them."""
    quantization: str | None = None
    family: str | None = None
    size_bytes: int | None = None
    """Of the weights."""
    kv_bytes: int | None = None
    """Memory that a token of context takes, at 16 bits a value."""
    digest: str = ""
    """Changes when the weights do, where the server tells."""
    speed: SpeedClass | None = None
    quality: Quality | None = None
    cost: float = 0.0
    """Price of a million tokens, as the settings have it; 0 for what runs at home."""
    loaded: bool | None = None
    """Whether it lies in the backend's memory now."""
    gone: bool = False
    """It was there once; the backend's last list does not have it."""
    guessed: tuple[str, ...] = ()
    """Names of the fields above that come from hints, not from the server or the settings."""
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


class Persona(msgspec.Struct, frozen=True, omit_defaults=True):
    """A way to be spoken to, listed as the model `persona/<id>`."""

    id: str
    name: str
    description: str
    system: str
    """The system prompt."""
    workspace: str = "auto"
    """Whose choice of models it uses."""
    model: str | None = None
    """The model to use instead."""
    temperature: float | None = None
    greeting: str = ""
    """What a channel may show before the first message."""
    prompts: dict[str, str] = {}
    """What is added to the system prompt on one channel: telegram, slack, web, cli or api."""
    shipped: bool = False


class Target(msgspec.Struct, frozen=True):
    """What a model name means: a workspace, or one model on one backend."""

    name: str
    """As the caller wrote it."""
    workspace: Workspace | None = None
    backend: str = ""
    model: str = ""
    kind: BackendKind | None = None


class BreakerStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """One model's circuit breaker, as far as it is not simply closed."""

    model: str
    state: BreakerState
    failures: int = 0
    """In a row, up to now."""
    retry_seconds: float = 0.0
    """Until it is tried again."""
    error: str = ""
    """What the last failure was."""


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
    breakers: tuple["BreakerStatus", ...] = ()
    """Of those of its models that failed lately."""
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


UsageGroup = Literal["day", "user", "model"]


class UsageSum(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a group of answers used; only the fields that name the group are set."""

    answers: int
    input_tokens: int
    output_tokens: int
    day: str = ""
    """`2026-11-22`, in UTC."""
    user: str = ""
    key: str = ""
    backend: str = ""
    model: str = ""


class FunctionInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function as `portal functions` lists it."""

    name: str
    trigger: Literal["route", "event", "schedule", "tool"]
    detail: str
    """`POST /v1/…`, the topic, the times, or the category."""
    scope: str = ""
    summary: str = ""
