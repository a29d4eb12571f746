"""The ports a function may ask for: one narrow protocol each, composed into its `Needs`."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Protocol

import msgspec

from portal.shared.contract import Call, RawReply, Stream
from portal.shared.decisions import Decision
from portal.shared.model_operations import PullProgress, Vectors
from portal.shared.models import (
    BackendStatus,
    FunctionInfo,
    Health,
    Model,
    Persona,
    Target,
    UsageGroup,
    UsageRecord,
    UsageSum,
    Workspace,
)
from portal.shared.turns import ModelEvent, ModelRequest, TurnEvent, TurnRequest


class Models(Protocol):
    """The registry: answers from memory; only what says so waits for a backend."""

    def models(self) -> Sequence[Model]: ...

    def workspaces(self) -> Sequence[Workspace]: ...

    def resolve(self, name: str) -> Target:
        """Say what a model name means. Raises UnknownModel, or InvalidRequest when ambiguous."""
        ...

    async def locate(self, name: str) -> Target:
        """Say the same; right after the start, an unknown name is waited for."""
        ...

    async def embed(
        self,
        call: Call,
        name: str | None,
        texts: Sequence[str],
        *,
        dimensions: int | None = None,
        background: bool = False,
    ) -> Vectors:
        """Turn texts into vectors; the one method here that waits.

        Without a name the best embedding model that is live does it, else Portal's own (extra
        `knowledge`). `background` work yields to people. Raises NoCapableModel when there is none.
        """
        ...


class Gateway(Protocol):
    """Raw models: one backend, no turn around it, nothing stored but usage."""

    async def relay(
        self,
        call: Call,
        target: Target,
        path: str,
        fields: Mapping[str, msgspec.Raw],
        *,
        stream: bool,
    ) -> RawReply | Stream:
        """Pass a request on in its own dialect: every field keeps its bytes, only `model` changes.

        `path` is the backend's, as in `/v1/completions`. The answer's bytes are its own.
        """
        ...

    async def forward(
        self,
        call: Call,
        backend: str,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        media_type: str = "application/json",
        changes: bool = False,
    ) -> RawReply | Stream:
        """Pass on what is no question to a model; status, headers and bytes come back as they are.

        `path` is percent-encoded and may have a query. `media_type` is the body's; empty for none.
        `changes`: the backend may have other models afterwards, which are known before the answer
        ends. Raises UnknownModel where there is no such backend.
        """
        ...

    def generate(
        self, call: Call, target: Target, request: ModelRequest
    ) -> AsyncGenerator[ModelEvent, None]:
        """Ask a backend of another dialect; the events end with Finish or raise a BackendError."""
        ...


class Routing(Protocol):
    """Decisions, without acting on them."""

    async def explain(self, call: Call, request: TurnRequest, *, ask: bool = True) -> Decision:
        """Say which models would be tried for a turn, and why. Raises what the turn would.

        `ask`: let the classifying model sort the question, where one is set.
        """
        ...


class ModelAdmin(Protocol):
    """The models on backends, as their owner manages them.

    `name` is a model id; where it names no backend, the only one that can is taken. Raises
    UnknownModel, UnsupportedField where the server cannot, and BackendError.
    """

    def pull(self, name: str) -> AsyncGenerator[PullProgress, None]:
        """Let a backend download a model; ends when it is there."""
        ...

    async def remove(self, name: str) -> None: ...

    async def load(self, name: str) -> None: ...

    async def unload(self, name: str) -> None: ...

    def reset_breakers(self, backend: str | None = None, model: str | None = None) -> int:
        """Close the breakers that match; give how many were not closed."""
        ...


class Personas(Protocol):
    """Ways to be spoken to, each a virtual model."""

    def personas(self) -> Sequence[Persona]: ...


class Turns(Protocol):
    """The turn, through which all workspace traffic goes."""

    def run(self, call: Call, request: TurnRequest) -> AsyncGenerator[TurnEvent, None]:
        """Answer. Raises before the first event; later failures are a final Error event."""
        ...


class UsageLog(Protocol):
    """Counts answers; never waits for a disk."""

    def record(self, record: UsageRecord) -> None: ...

    def last(self, count: int) -> Sequence[UsageRecord]:
        """The newest answers, newest first."""
        ...

    async def sums(self, by: UsageGroup, *, days: int) -> Sequence[UsageSum]:
        """What was used in the last days, today among them, by group. Raises StateUnavailable."""
        ...


class HealthReport(Protocol):
    """The truth about this process, from memory."""

    def health(self) -> Health: ...

    def backends(self) -> Sequence[BackendStatus]: ...


class Documentation(Protocol):
    """The catalogue, as it describes itself."""

    def functions(self) -> Sequence[FunctionInfo]: ...

    def openapi(self) -> bytes: ...

    def page(self) -> str:
        """The same as an HTML page that needs no network."""
        ...


class Asset(msgspec.Struct, frozen=True):
    """A file of the web page."""

    media_type: str
    body: bytes
    etag: str


class Pages(Protocol):
    """The web page's files, and its Markdown."""

    def asset(self, name: str) -> Asset:
        """Raises NotFound."""
        ...

    def render(self, markdown: str) -> str:
        """Safe HTML: sanitised, code highlighted, no external reference loaded."""
        ...


class Sessions(Protocol):
    """Page sessions: a one-time link becomes a cookie."""

    def new_link(self) -> str:
        """Make the code of a one-time link."""
        ...

    def open(self, link: str) -> str:
        """Redeem a one-time link code for a session token. Raises Forbidden."""
        ...


class Metrics(Protocol):
    """Figures of this process."""

    def exposition(self) -> bytes:
        """All of them, in the text format of Prometheus 0.0.4."""
        ...


class HasMetrics(Protocol):
    @property
    def metrics(self) -> Metrics: ...


class HasModels(Protocol):
    @property
    def models(self) -> Models: ...


class HasGateway(Protocol):
    @property
    def gateway(self) -> Gateway: ...


class HasRouting(Protocol):
    @property
    def routing(self) -> Routing: ...


class HasModelAdmin(Protocol):
    @property
    def model_admin(self) -> ModelAdmin: ...


class HasPersonas(Protocol):
    @property
    def personas(self) -> Personas: ...


class HasTurns(Protocol):
    @property
    def turns(self) -> Turns: ...


class HasUsage(Protocol):
    @property
    def usage(self) -> UsageLog: ...


class HasHealth(Protocol):
    @property
    def health(self) -> HealthReport: ...


class HasDocumentation(Protocol):
    @property
    def documentation(self) -> Documentation: ...


class HasPages(Protocol):
    @property
    def pages(self) -> Pages: ...


class HasSessions(Protocol):
    @property
    def sessions(self) -> Sessions: ...


class HasCall(Protocol):
    @property
    def call(self) -> Call: ...


class HasControl(Protocol):
    """The owner's switch for the process."""

    @property
    def control(self) -> "Control": ...


class Control(Protocol):
    """Stops the process in order."""

    def stop(self) -> None: ...
