"""What a function is made of: its trigger, its request, its context and its result.

A function is one module under `portal.functions` with exactly one trigger constant, a `Request`,
a `Needs` protocol and `handle(request, context)`. `docs/functions.md` is the guide.
"""

import enum
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path as FilePath
from typing import Annotated, Literal, Protocol, TypeVar

import msgspec

KIB = 1024
MIB = 1024 * KIB
JSON_LIMIT = 16 * MIB
WEBHOOK_LIMIT = 1 * MIB
FILE_LIMIT = 100 * MIB


class Scope(enum.Enum):
    """Who may call a ROUTE function. WEBHOOK: the function itself checks the platform's secret."""

    PUBLIC = "public"
    CHAT = "chat"
    ADMIN = "admin"
    WEBHOOK = "webhook"
    METRICS = "metrics"


class Route(msgspec.Struct, frozen=True):
    """Run when an HTTP request arrives.

    `path` may hold `{name}` for one segment and end in `{name:path}` for all that is left of it.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    scope: Scope
    max_body: int = JSON_LIMIT
    """Largest body in bytes; a longer one is refused before it is read."""


class Event(msgspec.Struct, frozen=True):
    """Run when a durable queue row with this topic falls due."""

    topic: str
    attempts: int = 5
    """How often the row is tried before it becomes a dead letter."""


class Schedule(msgspec.Struct, frozen=True):
    """Run as time passes: a cron line of five fields, or an interval such as `30s`, `5m`, `1h`."""

    when: str
    timezone: str = "UTC"
    missed: Literal["run_once", "skip"] = "run_once"
    """What happens to due times that passed while Portal was down."""


class Tool(msgspec.Struct, frozen=True):
    """Run when a model, an MCP client or the CLI calls it; `confirm` asks a human first."""

    category: str
    confirm: bool = False


Trigger = Route | Event | Schedule | Tool


class InPath:
    """The field is filled from the path segment of the same name."""


class InQuery:
    """The field is filled from the query parameter of the same name."""


class InHeader:
    """The field is filled from the header of the same name, underscores read as hyphens."""


T = TypeVar("T")
Path = Annotated[T, InPath()]
Query = Annotated[T, InQuery()]
Header = Annotated[T, InHeader()]


class RawRequest(msgspec.Struct, frozen=True):
    """The bytes themselves, for a function whose signature or relay depends on them."""

    method: str
    path: str
    params: Mapping[str, str]
    """Path segments by name."""
    query: Mapping[str, str]
    """The last value of each query parameter."""
    headers: Mapping[str, str]
    """Names in lower case; repeated headers joined by `, `."""
    body: bytes


class Caller(msgspec.Struct, frozen=True):
    """Who is calling: `user` owns what the call makes; `key` names the credential used."""

    user: str
    key: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Tell whether the caller holds this scope."""
        return scope in self.scopes


class Call(msgspec.Struct):
    """One call of one function: who, which, and what the host should say about it."""

    id: str
    caller: Caller
    function: str
    """Dotted module name below `portal.functions`."""
    started: float
    """`time.perf_counter()` when the request's head had arrived."""
    route: str = ""
    """`<workspace>;<backend>;<model>;<reason>`, once decided."""
    context: str = ""
    """What was left out of the prompt, or cut by the backend; empty when nothing was."""
    dropped: tuple[str, ...] = ()
    """Request fields that the backend's dialect has no place for."""
    waited: float = 0.0
    """Seconds spent waiting for backends so far, which are not Portal's own."""
    waiting_since: float | None = None
    """`time.perf_counter()` at the start of a wait that still goes on."""

    def begin_wait(self) -> None:
        """Say that the time from now on is a backend's."""
        self.waiting_since = time.perf_counter()

    def end_wait(self) -> None:
        """Say that it is Portal's own again."""
        if self.waiting_since is not None:
            self.waited += time.perf_counter() - self.waiting_since
            self.waiting_since = None


class Context(Protocol):
    """What every function is given; a function's `Needs` adds the ports that it may touch."""

    @property
    def call(self) -> Call: ...


class Stream:
    """An answer that goes out as it is made.

    The host awaits the first item before it sends headers, so an early failure is a normal error.
    After a silence (10 s by default) it sends headers and SSE comments until the first item comes.
    A later failure ends the stream with the bytes of `on_error`; without it, an SSE stream ends
    with OpenAI's error event. `overdue`: the silence has lasted that long already, so comments
    begin at once. The host always closes `items`, so a client that leaves frees the
    backend at once.
    """

    __slots__ = ("headers", "items", "media_type", "on_error", "overdue", "status")

    def __init__(
        self,
        items: AsyncIterator[bytes],
        *,
        media_type: str = "text/event-stream",
        on_error: Callable[[Exception], bytes] | None = None,
        status: int = 200,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        overdue: bool = False,
    ) -> None:
        self.items = items
        self.media_type = media_type
        self.on_error = on_error
        self.status = status
        self.headers = headers
        self.overdue = overdue


class RawReply(msgspec.Struct, frozen=True):
    """Status, headers and bytes exactly as given; header names in lower case."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class FileReply(msgspec.Struct, frozen=True):
    """A file of the disk, streamed; `download` names it for the browser's save dialogue."""

    path: FilePath
    media_type: str
    download: str | None = None
