"""Every setting of Portal: its place, type, default, bounds and meaning. Pure data, no reading.

The docstring under a field is its documentation: the example files and the settings table of the
docs are held to it by test. Intervals are seconds.
"""

from pathlib import Path
from typing import Annotated, Literal, get_type_hints

from msgspec import Meta, Struct

from portal.shared.decisions import Strategy
from portal.shared.models import Capability, SpeedClass

Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]
Port = Annotated[int, Meta(ge=0, le=65535)]
# `$` alone would let a final line break through.
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$(?!\n)")]


class Secret:
    """Marks a field whose value is never shown."""


class Section(Struct, frozen=True, forbid_unknown_fields=True):
    """A group of settings whose `repr` shows no secret, since logs and tracebacks print it."""

    def __repr__(self) -> str:
        hints = get_type_hints(type(self), include_extras=True)
        shown = []
        for name in self.__struct_fields__:
            value = getattr(self, name)
            masked = value is not None and is_secret(hints[name])
            shown.append(f"{name}={'****' if masked else repr(value)}")
        return f"{type(self).__name__}({', '.join(shown)})"


def is_secret(annotation: object) -> bool:
    """Tell whether an annotation carries the marker `Secret`."""
    return any(isinstance(mark, Secret) for mark in getattr(annotation, "__metadata__", ()))


class Server(Section, frozen=True, forbid_unknown_fields=True):
    """The one listening socket and its limits."""

    host: str = "127.0.0.1"
    """Address to listen on. Anything but loopback needs a key."""
    port: Port = 8081
    """Port to listen on; 0 takes a free one."""
    allowed_hosts: tuple[str, ...] = ()
    """Further names that browsers may use for this server in the Host header."""
    probe: bool = True
    """Look for an Ollama and an LM Studio on this machine, beside the configured backends."""
    discover_seconds: Seconds = 30.0
    """How often backends are asked for their models."""
    heartbeat_seconds: Seconds = 10.0
    """Silence before the first token after which headers and SSE comments are sent."""
    header_seconds: Seconds = 10.0
    """Longest time a client may take to send its request's head."""
    body_seconds: Seconds = 30.0
    """Longest pause while a client sends its body; after that, it must average 1 KiB a second."""
    max_header_bytes: Count = 65536
    """Largest head of a request, in bytes."""
    shutdown_seconds: Seconds = 8.0
    """Longest time that a stop may take; answers still running are then cut with an error."""


class Auth(Section, frozen=True, forbid_unknown_fields=True):
    """Who may call."""

    api_key: Annotated[str | None, Secret()] = None
    """A key of every scope (16 characters or more). When set, a key is required."""
    required: bool | None = None
    """Whether a key is required; unset: off loopback, or when `api_key` is set."""


class Backend(Section, frozen=True, forbid_unknown_fields=True):
    """A server that runs models."""

    name: Name
    """How model ids name it: `<name>/<model>`."""
    kind: Literal["ollama", "openai"]
    """`ollama` speaks Ollama's own API; `openai` is LM Studio, llama.cpp, vLLM, MLX, LocalAI."""
    url: str
    """Where it listens, with or without `/v1`."""
    api_key: Annotated[str | None, Secret()] = None
    """Bearer token that the backend wants, if any."""
    max_connections: Count = 64
    """Most connections to it at once, whatever they are for."""
    max_concurrency: Annotated[int, Meta(ge=0)] = 0
    """Most answers that it writes at once, others wait in line; 0: as many as connections."""
    max_loaded: Annotated[int, Meta(ge=0)] = 0
    """Most models that fit its memory together; 0: learnt from watching it."""
    priority: Annotated[int, Meta(ge=-100, le=100)] = 0
    """Between models that are equally good, the backend of the higher number is taken."""
    ca_file: Path | None = None
    """PEM file of the authority behind its https certificate; trusted instead of all others."""
    pool_seconds: Seconds = 60.0
    """Longest wait for one of the connections to become free."""
    connect_seconds: Seconds = 2.0
    """Longest time to open a connection."""
    first_byte_seconds: Seconds = 600.0
    """Longest wait for the answer's first byte; prefill on a CPU takes minutes."""
    stall_seconds: Seconds = 120.0
    """Longest pause between two reads of an answer."""
    total_seconds: Seconds = 3600.0
    """Longest time for a whole answer."""


class Embedded(Section, frozen=True, forbid_unknown_fields=True):
    """The small model that Portal runs itself."""

    enabled: bool = True
    """Offer the embedded model, after all others."""
    model_path: Path | None = None
    """A GGUF file to run instead of the one that Portal fetches."""
    context_window: Annotated[int, Meta(ge=512)] = 4096
    """Tokens that prompt and answer share."""
    threads: Annotated[int, Meta(ge=0)] = 0
    """Threads that write tokens; 0: cores minus one."""
    idle_seconds: Seconds = 900.0
    """Unused for this long, the child process ends and its memory is free."""
    start_seconds: Seconds = 60.0
    """Longest time the child process may take to load."""


class Routing(Section, frozen=True, forbid_unknown_fields=True):
    """How a question finds its model, and what happens when that model fails."""

    strategy: Strategy = "auto"
    """What a workspace prefers where it does not say so itself."""
    classifier_model: str | None = None
    """A small model that sorts questions which the rules are unsure of; unset: rules alone."""
    classifier_seconds: Seconds = 1.0
    """Longest wait for `classifier_model`; after that the rules decide."""
    first_token_seconds: Seconds = 600.0
    """Longest wait for the first token of a workspace's answer; then the next model is tried."""
    token_seconds: Seconds = 120.0
    """Longest pause between two tokens of an answer."""
    connect_retries: Annotated[int, Meta(ge=0, le=10)] = 1
    """How often a refused connection is tried again where no other model can take over."""
    retry_seconds: Seconds = 0.2
    """Pause before a refused connection is tried again; each further one is twice as long."""


class Breaker(Section, frozen=True, forbid_unknown_fields=True):
    """When a model that keeps failing is left alone, each (backend, model) for itself."""

    failures: Count = 3
    """Failures in a row after which a model is left alone."""
    recovery_seconds: Seconds = 15.0
    """How long a failing model is left alone at first; doubled each time it then fails again."""
    max_recovery_seconds: Seconds = 300.0
    """Longest that a failing model is left alone before it is tried again."""
    half_open: Count = 1
    """Requests that may try it at once after that; it is trusted again when as many succeed."""


class Load(Section, frozen=True, forbid_unknown_fields=True):
    """How much is done at once, and how much may wait."""

    max_concurrency: Count = 256
    """Most answers under way at once, over all backends."""
    key_concurrency: Count = 64
    """Most answers under way and waiting of one key."""
    queue: Annotated[int, Meta(ge=0)] = 256
    """Most requests that wait for their turn; the next one is told when to come back."""
    queue_seconds: Seconds = 120.0
    """Longest wait for one's turn."""
    batch: Count = 8
    """Where models displace each other: most answers of one before another's turn."""
    batch_seconds: Seconds = 30.0
    """Where models displace each other: longest wait for a turn; what has begun is let finish."""


class State(Section, frozen=True, forbid_unknown_fields=True):
    """What Portal remembers: the database `portal.db` in the state directory."""

    readers: Annotated[int, Meta(ge=1, le=16)] = 2
    """Connections that read, beside the one that writes."""
    busy_seconds: Seconds = 5.0
    """Longest wait for another program that locks the database."""
    retry_seconds: Seconds = 5.0
    """How often a database that failed is tried again."""
    search_matches: Count = 5000
    """Most messages that one search looks through, the newest that match."""
    usage_seconds: Seconds = 1.0
    """Longest time that a counted answer waits in memory before it is written."""
    usage_days: Count = 90
    """Days for which each answer is listed by itself; the sums of each day are kept."""


class ModelFacts(Section, frozen=True, forbid_unknown_fields=True):
    """What you know better about some models than their server or Portal's hints do."""

    name: str
    """`<backend>/<model>`, in which `*` stands for anything."""
    capabilities: tuple[Capability, ...] | None = None
    """All that they can do; replaces what is known."""
    context_window: Count | None = None
    """Tokens to serve them with; Ollama is told so."""
    quality: Annotated[int, Meta(ge=0, le=100)] | None = None
    """How good their answers are, for every kind of question."""
    speed: SpeedClass | None = None
    """How fast they answer."""
    cost: Annotated[float, Meta(ge=0)] | None = None
    """Price of a million tokens, in whatever unit you use throughout."""


class Rule(Section, frozen=True, forbid_unknown_fields=True):
    """A pattern that sends matching questions of `auto` to a model or a workspace."""

    name: Name
    """What answers call it in `x-portal-route`."""
    pattern: str
    """Regular expression, looked for anywhere in the last message; upper and lower case alike."""
    target: str
    """Model or workspace."""
    priority: int = 0
    """The highest that matches decides; among equals the first."""


class Workspace(Section, frozen=True, forbid_unknown_fields=True):
    """A virtual model, changed or added."""

    description: str = ""
    """One line for the model list."""
    model: str | None = None
    """The model to use; unset: the best one that is live."""
    fallback: tuple[str, ...] = ()
    """Models to try next, in this order, before any other."""
    system: str | None = None
    """System prompt put before the conversation."""
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    """Used where the request names none."""
    max_tokens: Count | None = None
    """Used where the request names none."""
    strategy: Strategy | None = None
    """What to prefer; unset: `routing.strategy`."""
    prefer: tuple[Capability, ...] = ()
    """What its models should be good at, whatever the question."""
    require: tuple[Capability, ...] = ()
    """What its models must be able to do."""
    trim: Literal["oldest", "never"] = "oldest"
    """A conversation too long: leave out its oldest turns, or refuse it."""


class Settings(Section, frozen=True, forbid_unknown_fields=True):
    """All settings, read once and validated."""

    data_dir: Path
    """Files of the user that tools and MCP servers may touch."""
    state_dir: Path
    """Portal's own state: lock, run.json, logs, models. Never offered to a tool."""
    personas_dir: Path | None = None
    """Your own personas, a YAML file each; unset: `personas` beside the state directory."""
    router_token: Annotated[str | None, Secret()] = None
    """A key of scope chat, required of everyone when set."""
    server: Server = Server()
    auth: Auth = Auth()
    embedded: Embedded = Embedded()
    routing: Routing = Routing()
    breaker: Breaker = Breaker()
    load: Load = Load()
    state: State = State()
    backends: tuple[Backend, ...] = ()
    models: tuple[ModelFacts, ...] = ()
    rules: tuple[Rule, ...] = ()
    workspaces: dict[Name, Workspace] = {}
