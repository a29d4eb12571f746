"""What a backend is to the engine, whatever server stands behind it."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Protocol

from portal.runtime.backends.operations import ModelOperations
from portal.shared.errors import BackendRefused
from portal.shared.models import BackendKind, BackendStatus, Model
from portal.shared.turns import ModelEvent, ModelRequest

Headers = tuple[tuple[bytes, bytes], ...]
JSON: Headers = ((b"content-type", b"application/json"),)


class Reply(Protocol):
    """An answer under way: head known, body to be read once, or closed.

    Reading raises BackendTimeout (stall or total limit) and BackendBroken (malformed, cut).
    `aclose` is idempotent, and closes the connection at once unless the body was read to its end.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    """Names in lower case."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def read(self, limit: int) -> bytes:
        """Read the rest; BackendBroken past `limit` bytes."""
        ...

    async def aclose(self) -> None: ...


class Backend(ModelOperations, Protocol):
    """One model server. Every method raises errors of `portal.shared.errors` only."""

    name: str
    kind: BackendKind

    @property
    def available(self) -> bool:
        """Whether it makes sense to send something: live, or started on first use."""
        ...

    def status(self) -> BackendStatus: ...

    def models(self) -> Sequence[Model]:
        """The models known of it, from memory."""
        ...

    async def discover(self) -> None:
        """Ask the server what it has and remember the answer; never raises for a dead one."""
        ...

    def drops(self, request: ModelRequest) -> tuple[str, ...]:
        """Name the fields of a request that this dialect has no place for."""
        ...

    def generate(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Answer; ends with Finish."""
        ...

    async def send(
        self, path: str, body: bytes, *, method: str = "POST", headers: Headers = JSON
    ) -> Reply:
        """Pass a request on in the server's own dialect; any status is an answer.

        `path` lies below its address, as in `/v1/chat/completions`. Raises BackendError without
        an answer.
        """
        ...

    async def refusal(self, reply: Reply) -> BackendRefused:
        """Read an answer that is not a success, and make the error of it."""
        ...

    def refused(self, reply: Reply, body: bytes) -> BackendRefused:
        """Make the error of one that was read."""
        ...

    async def aclose(self) -> None: ...
