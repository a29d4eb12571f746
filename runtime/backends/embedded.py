"""The embedded model as a backend: OpenAI's dialect towards a child process that Portal owns."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from portal.runtime.backends.backend import JSON, Headers, Reply
from portal.runtime.backends.embedded_server import EmbeddedServer, Lease
from portal.runtime.backends.http_backend import HTTPBackend
from portal.runtime.backends.kinds import DIALECTS
from portal.runtime.backends.operations import COUNT_SECONDS, cannot, failing
from portal.runtime.backends.tolerant import billions
from portal.runtime.ops import schema
from portal.shared.errors import (
    BackendError,
    BackendRefused,
    Conflict,
    PortalError,
    UnknownModel,
    UnsupportedField,
)
from portal.shared.messages import ImagePart
from portal.shared.model_operations import Embeddings, PullProgress
from portal.shared.models import BackendKind, BackendStatus, Model
from portal.shared.turns import ModelEvent, ModelRequest

NAME = "embedded"


class EmbeddedBackend:
    """Leases the child for each answer; the child starts on first use and ends when idle."""

    name = NAME
    kind: BackendKind = "embedded"

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        self._link: HTTPBackend | None = None
        self._link_address = ("", "")

    @property
    def available(self) -> bool:
        return self._server.available

    def warm(self) -> None:
        """Start the child without waiting for it."""
        self._server.start()

    def status(self) -> BackendStatus:
        return BackendStatus(
            NAME,
            "embedded",
            "",
            self._server.state,
            True,
            models=len(self.models()),
            error=self._server.problem,
            pid=self._server.pid,
        )

    def models(self) -> Sequence[Model]:
        facts = self._server.facts
        if facts is None:
            return ()
        return (
            Model(
                NAME,
                facts.name,
                "embedded",
                capabilities=facts.capabilities,
                context_window=facts.context_window,
                parameters=facts.parameters,
                billions=billions(facts.parameters),
                quantization=facts.quantization,
                family=facts.family,
                size_bytes=self._server.size_bytes,
                loaded=self._server.state == "live",
            ),
        )

    async def discover(self) -> None:
        """Look whether library and weights are there, which may change while Portal runs."""
        await asyncio.to_thread(self._server.look)

    async def send(
        self, path: str, body: bytes, *, method: str = "POST", headers: Headers = JSON
    ) -> Reply:
        lease = await self._server.lease()
        try:
            link = await self._connect(lease)
            reply = await link.send(path, body, method=method, headers=headers)
        except BaseException:
            lease.release()
            raise
        return LeasedReply(reply, lease)

    async def refusal(self, reply: Reply) -> BackendRefused:
        """Make the error of an answer that is not a success."""
        assert self._link is not None
        return await self._link.refusal(reply)

    def refused(self, reply: Reply, body: bytes) -> BackendRefused:
        """Make the error of one that was read."""
        assert self._link is not None
        return self._link.refused(reply, body)

    def drops(self, request: ModelRequest) -> tuple[str, ...]:
        return DIALECTS["openai"].drops(request)

    async def generate(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        for message in request.messages:
            if any(isinstance(part, ImagePart) for part in message.content):
                raise UnsupportedField(
                    "The embedded model cannot see images; use a model that can, such as "
                    "qwen2.5vl on Ollama.",
                    param="messages",
                )
        lease = await self._server.lease()
        try:
            link = await self._connect(lease)
            async with contextlib.aclosing(link.generate(request)) as events:
                async for event in events:
                    yield event
        finally:
            lease.release()

    def pull(self, model: str) -> AsyncGenerator[PullProgress, None]:
        instead = "Its weights are fetched on its machine: portal models pull embedded"
        return failing(cannot(NAME, "pull", instead))

    async def remove(self, model: str) -> None:
        raise cannot(NAME, "remove", "Switch it off with embedded.enabled = false.")

    async def load(self, model: str, *, num_ctx: int | None = None) -> None:
        """Start the child; its window is the setting `embedded.context_window`."""
        self._check(model)
        (await self._server.lease()).release()

    async def unload(self, model: str) -> None:
        """Stop the child. Raises Conflict while it answers or starts."""
        self._check(model)
        if not self._server.unload():
            raise Conflict("The embedded model is in use; try again when its answers are complete.")

    async def embed(
        self, model: str, texts: Sequence[str], dimensions: int | None = None
    ) -> Embeddings:
        raise UnsupportedField(
            "The embedded model makes no vectors; use a model that does, such as nomic-embed-text "
            "on Ollama.",
            param="model",
        )

    async def count_tokens(self, model: str, text: str) -> int | None:
        with contextlib.suppress(BackendError, TimeoutError):
            async with asyncio.timeout(COUNT_SECONDS):
                lease = await self._server.lease()
                try:
                    return await (await self._connect(lease)).count_tokens(model, text)
                finally:
                    lease.release()
        return None

    async def loaded(self) -> frozenset[str]:
        """Tell from memory whether the child runs."""
        return frozenset(model.name for model in self.models() if model.loaded)

    async def aclose(self) -> None:
        if self._link is not None:
            await self._link.aclose()
        await self._server.aclose()

    def _check(self, model: str) -> None:
        names = [known.name for known in self.models()]
        if names and model not in names:
            raise UnknownModel(
                f"The embedded backend has no model {model!r}; it has {names[0]}.", param="model"
            )

    async def _connect(self, lease: Lease) -> HTTPBackend:
        """Reuse the pool of the running child; a restarted child has another port and key."""
        address = (lease.url, lease.api_key)
        if self._link is None or self._link_address != address:
            old, self._link_address = self._link, address
            self._link = HTTPBackend(
                schema.Backend(NAME, "openai", lease.url, api_key=lease.api_key),
                DIALECTS["openai"],
            )
            if old is not None:
                with contextlib.suppress(PortalError):
                    await old.aclose()
        return self._link


class LeasedReply:
    """A reply that gives its lease back when it is closed."""

    def __init__(self, reply: Reply, lease: Lease) -> None:
        self._reply = reply
        self._lease = lease
        self.status = reply.status
        self.headers = reply.headers

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._reply)

    async def read(self, limit: int) -> bytes:
        return await self._reply.read(limit)

    async def aclose(self) -> None:
        self._lease.release()
        await self._reply.aclose()
