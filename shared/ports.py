"""The ports a function may ask for: one narrow protocol each, composed into its `Needs`."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Protocol

import msgspec

from portal.shared.contract import Call, RawReply, Stream
from portal.shared.models import (
    BackendStatus,
    FunctionInfo,
    Health,
    Model,
    Target,
    UsageRecord,
    Workspace,
)
from portal.shared.turns import ModelEvent, ModelRequest, TurnEvent, TurnRequest


class Models(Protocol):
    """The registry: answers from memory, never waits for a backend."""

    def models(self) -> Sequence[Model]: ...

    def workspaces(self) -> Sequence[Workspace]: ...

    def resolve(self, name: str) -> Target:
        """Say what a model name means. Raises UnknownModel, or InvalidRequest when ambiguous."""
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

        `path` lies below the backend's `/v1`. The answer's bytes are the backend's own.
        """
        ...

    def generate(
        self, call: Call, target: Target, request: ModelRequest
    ) -> AsyncGenerator[ModelEvent, None]:
        """Ask a backend of another dialect; the events end with Finish or raise a BackendError."""
        ...


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


class HasModels(Protocol):
    @property
    def models(self) -> Models: ...


class HasGateway(Protocol):
    @property
    def gateway(self) -> Gateway: ...


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
