"""A model server over HTTP: its pool, its state, and what it was last seen to have.

What it is asked and how its answers read is the dialect's business.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

import msgspec

from portal.runtime.backends.backend import Reply
from portal.runtime.backends.pool import Limits, Pool
from portal.runtime.ops import schema
from portal.shared.errors import BackendRefused, PortalError
from portal.shared.models import BackendKind, BackendState, BackendStatus, Model
from portal.shared.turns import ModelEvent, ModelRequest

PROBE_SECONDS = 10.0
"""Longest wait for the list of models, which every live server gives at once."""
END_SECONDS = 0.1
"""Longest wait for the end of a body whose answer is complete."""
JSON = ((b"content-type", b"application/json"),)


class Dialect(msgspec.Struct, frozen=True):
    """How one kind of server is spoken to."""

    kind: BackendKind
    chat_path: str
    list_models: Callable[[Pool, str, Limits], Awaitable[tuple[Model, ...]]]
    encode: Callable[[ModelRequest], bytes]
    drops: Callable[[ModelRequest], tuple[str, ...]]
    decode: Callable[[AsyncIterator[bytes], str], AsyncGenerator[ModelEvent, None]]


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
        )
        self._pool = Pool(
            self.url,
            name=settings.name,
            api_key=settings.api_key,
            max_connections=settings.max_connections,
            limits=self._limits,
        )
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
            models=len(self._models),
            error=self._error,
        )

    def models(self) -> Sequence[Model]:
        return self._models

    async def discover(self) -> None:
        patience = min(PROBE_SECONDS, self._limits.first_byte)
        limits = msgspec.structs.replace(
            self._limits, first_byte=patience, stall=patience, total=patience
        )
        try:
            self._models = await self._dialect.list_models(self._pool, self.name, limits)
        except PortalError as error:
            self._state = "dead" if self._configured or self._models else "absent"
            self._error = error.message
        else:
            self._state, self._error = "live", ""

    async def send(self, path: str, body: bytes) -> Reply:
        """POST a request of OpenAI's dialect below `/v1`; any status is an answer."""
        return await self._pool.request("POST", f"/v1{path}", body, headers=JSON)

    async def refusal(self, reply: Reply) -> BackendRefused:
        """Make the error of an answer that is not a success."""
        return await self._pool.refusal(reply)

    def drops(self, request: ModelRequest) -> tuple[str, ...]:
        return self._dialect.drops(request)

    async def generate(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        body = self._dialect.encode(request)
        reply = await self._pool.request("POST", self._dialect.chat_path, body, headers=JSON)
        try:
            if reply.status != 200:
                raise await self.refusal(reply)
            async with contextlib.aclosing(self._dialect.decode(aiter(reply), self.name)) as events:
                async for event in events:
                    yield event
            await _read_end(reply)
        finally:
            await reply.aclose()

    async def aclose(self) -> None:
        await self._pool.aclose()


def without_v1(url: str) -> str:
    """Give the address below which `/v1` lies, however it was written."""
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


async def _read_end(reply: Reply) -> None:
    """Take in the few bytes that end a body, so that its connection can be used again."""
    with contextlib.suppress(TimeoutError, PortalError):
        async with asyncio.timeout(END_SECONDS):
            async for _ in reply:
                pass
