"""A model server over HTTP: its pool, its state, and what it was last seen to have.

What it is asked and how its answers read is the dialect's business.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Protocol

import msgspec

from portal.runtime.backends.backend import JSON, Headers, Reply
from portal.runtime.backends.operations import ServerModels, too_long, within
from portal.runtime.backends.pool import Limits, Pool
from portal.runtime.ops import schema
from portal.runtime.ops.certificates import trusting
from portal.shared.errors import BackendBusy, BackendRefused, PortalError
from portal.shared.model_operations import Embeddings, PullProgress
from portal.shared.models import BackendKind, BackendState, BackendStatus, Model
from portal.shared.turns import ModelEvent, ModelRequest

PROBE_SECONDS = 10.0
"""Longest wait for the list of models, which every live server gives at once."""
END_SECONDS = 0.1
"""Longest wait for the end of a body whose answer is complete."""
GONE_KEPT = 64
"""Most models that are remembered after they vanished, those that vanished last."""


class EventReader(Protocol):
    """Reads one answer's bytes as events."""

    @property
    def done(self) -> bool:
        """Whether nothing more is to be read: the answer is complete, or broken."""
        ...

    def feed(self, data: bytes) -> list[ModelEvent]:
        """Return the events that these bytes complete."""
        ...

    def end(self) -> list[ModelEvent]:
        """Return what is left, up to Finish. Raises BackendBroken and BackendRefused."""
        ...


class Dialect(msgspec.Struct, frozen=True):
    """How one kind of server is spoken to."""

    kind: BackendKind
    chat_path: str
    models: Callable[[Pool, Limits], ServerModels]
    """Given the limits of an answer."""
    encode: Callable[[ModelRequest], bytes]
    drops: Callable[[ModelRequest], tuple[str, ...]]
    reader: Callable[[str], EventReader]
    """Given the backend's name, for errors."""


class HTTPBackend:
    """One server. `configured`: named in the settings, as opposed to looked for."""

    def __init__(
        self, settings: schema.Backend, dialect: Dialect, *, configured: bool = True
    ) -> None:
        self.name = settings.name
        self.kind: BackendKind = dialect.kind
        self.url = without_v1(settings.url)
        self._dialect = dialect
        self._configured = configured
        self._limits = Limits(
            connect=settings.connect_seconds,
            first_byte=settings.first_byte_seconds,
            stall=settings.stall_seconds,
            total=settings.total_seconds,
            pool=settings.pool_seconds,
        )
        self._pool = Pool(
            self.url,
            name=settings.name,
            api_key=settings.api_key,
            max_connections=settings.max_connections,
            limits=self._limits,
            context=trusting(settings.ca_file) if settings.ca_file else None,
        )
        self._server = dialect.models(self._pool, self._limits)
        self._state: BackendState = "unknown"
        self._error = ""
        self._models: tuple[Model, ...] = ()

    @property
    def available(self) -> bool:
        return self._state == "live"

    def status(self) -> BackendStatus:
        return BackendStatus(
            self.name,
            self.kind,
            self.url,
            self._state,
            self._configured,
            models=sum(not model.gone for model in self._models),
            error=self._error,
        )

    def models(self) -> Sequence[Model]:
        return self._models

    async def discover(self) -> None:
        try:
            found = await self._server.discover(within(self._limits, PROBE_SECONDS))
        except BackendBusy:
            # What it answers takes all its connections, which is no sign of death.
            return
        except PortalError as error:
            self._state = "dead" if self._configured or self._models else "absent"
            self._error = error.message
            # What comes back may be another version, or another server.
            self._server.forget()
        else:
            self._state, self._error = "live", ""
            self._models = with_gone(found, self._models)

    async def loaded(self) -> frozenset[str] | None:
        """Ask which models lie in its memory now, and remember the answer.

        None where it does not tell, or cannot now; takes a few seconds at most.
        """
        names = await self._server.loaded()
        if names is not None:
            self._models = tuple(
                msgspec.structs.replace(model, loaded=model.name in names) for model in self._models
            )
        return names

    def pull(self, model: str) -> AsyncGenerator[PullProgress, None]:
        return self._server.pull(model)

    async def remove(self, model: str) -> None:
        await self._server.remove(model)

    async def load(self, model: str, *, num_ctx: int | None = None) -> None:
        await self._server.load(model, num_ctx=num_ctx)

    async def unload(self, model: str) -> None:
        await self._server.unload(model)

    async def embed(
        self, model: str, texts: Sequence[str], dimensions: int | None = None
    ) -> Embeddings:
        return await self._server.embed(model, texts, dimensions)

    async def count_tokens(self, model: str, text: str) -> int | None:
        return await self._server.count_tokens(model, text)

    async def send(
        self, path: str, body: bytes, *, method: str = "POST", headers: Headers = JSON
    ) -> Reply:
        """Pass a request on in the server's own dialect; any status is an answer."""
        return await self._pool.request(method, path, body, headers=headers)

    async def refusal(self, reply: Reply) -> BackendRefused:
        """Make the error of an answer that is not a success."""
        return await self._pool.refusal(reply)

    def refused(self, reply: Reply, body: bytes) -> BackendRefused:
        """Make the error of one that was read."""
        return self._pool.refused(reply, body)

    def drops(self, request: ModelRequest) -> tuple[str, ...]:
        return self._dialect.drops(request)

    async def generate(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        body = self._dialect.encode(request)
        reply = await self._pool.request("POST", self._dialect.chat_path, body, headers=JSON)
        try:
            if reply.status != 200:
                raise too_long(await self.refusal(reply), param="messages")
            reader = self._dialect.reader(self.name)
            async for data in reply:
                for event in reader.feed(data):
                    yield event
                if reader.done:
                    break
            for event in reader.end():
                yield event
            await _read_end(reply)
        finally:
            await reply.aclose()

    async def aclose(self) -> None:
        await self._pool.aclose()


def with_gone(found: Sequence[Model], known: Sequence[Model]) -> tuple[Model, ...]:
    """Add to what was found those known that vanished, marked, the last to vanish first."""
    names = {model.name for model in found}
    missing = [model for model in known if model.name not in names]
    missing.sort(key=lambda model: model.gone)
    gone = [msgspec.structs.replace(each, gone=True, loaded=False) for each in missing[:GONE_KEPT]]
    return (*found, *gone)


def without_v1(url: str) -> str:
    """Give the address below which `/v1` lies, however it was written."""
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


async def _read_end(reply: Reply) -> None:
    """Take in the few bytes that end a body, so that its connection can be used again."""
    with contextlib.suppress(TimeoutError, PortalError):
        async with asyncio.timeout(END_SECONDS):
            async for _ in reply:
                pass
