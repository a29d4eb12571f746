"""The same application without a server: built from the settings, for one command, and closed."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from portal.runtime.app import create_app
from portal.runtime.backends.backend import Backend
from portal.runtime.ops.instance import acquire
from portal.runtime.ops.schema import Settings
from portal.runtime.ops.sessions import OWNER
from portal.runtime.routing.registry import Registry
from portal.shared.contract import Call
from portal.shared.errors import AlreadyRunning
from portal.shared.ids import new_id
from portal.shared.messages import Message
from portal.shared.model_list import ModelEntry, model_entry, workspace_entry
from portal.shared.models import BackendStatus
from portal.shared.turns import Sampling, TurnEvent, TurnRequest

if TYPE_CHECKING:
    from portal.runtime.context import Generation


class InProcess:
    """Answers a command from a generation of its own; offers what a running server offers."""

    def __init__(self, generation: "Generation", registry: Registry) -> None:
        self.generation = generation
        self.registry = registry

    async def models(self) -> Sequence[ModelEntry]:
        """List workspaces and models."""
        statuses = {status.name: status for status in await self.backends()}
        return [
            *(workspace_entry(workspace) for workspace in self.registry.workspaces()),
            *(model_entry(model, statuses.get(model.backend)) for model in self.registry.models()),
        ]

    async def backends(self) -> Sequence[BackendStatus]:
        """List the backends."""
        return self.generation.health.backends()

    async def answer(
        self, messages: Sequence[Message], model: str, sampling: Sampling | None = None
    ) -> AsyncGenerator[TurnEvent]:
        """Stream one turn. Closing the iterator early closes the connection to the backend."""
        call = Call(new_id(), OWNER, "turns.create", time.perf_counter())
        request = TurnRequest(
            tuple(messages), model, OWNER.user, Sampling() if sampling is None else sampling
        )
        events = self.generation.turns.run(call, request)
        async with contextlib.aclosing(events) as source:
            async for event in source:
                yield event


@asynccontextmanager
async def look_around(settings: Settings) -> AsyncIterator[InProcess]:
    """Ask every backend once what it has. Touches no state, so it needs no lock."""
    application = create_app(settings)
    found = _in_process(application.host.generation)
    backends = found.registry.backends.values()
    try:
        await asyncio.gather(*(backend.discover() for backend in backends))
        found.registry.rebuild()
        yield found
    finally:
        await asyncio.gather(*(backend.aclose() for backend in backends), return_exceptions=True)


@asynccontextmanager
async def open_backends(settings: Settings) -> AsyncIterator[Sequence[Backend]]:
    """Make the backends, each asked once what it has."""
    async with look_around(settings) as found:
        yield tuple(found.registry.backends.values())


@asynccontextmanager
async def whole(settings: Settings) -> AsyncIterator[InProcess]:
    """Run the whole application, but for its socket, under the lock of the state directory.

    Raises AlreadyRunning.
    """
    try:
        lock = acquire(settings.state_dir)
    except AlreadyRunning as error:
        if error.pid is not None:
            raise
        raise AlreadyRunning(
            f"Another portal command uses {settings.state_dir}, or Portal is just starting there. "
            "Several commands at once work beside a running Portal: `portal up`."
        ) from error
    try:
        application = create_app(settings)
        async with application.lifespan():
            yield _in_process(application.host.generation)
    finally:
        lock.release()


def _in_process(generation: "Generation") -> InProcess:
    registry = generation.models
    assert isinstance(registry, Registry)
    return InProcess(generation, registry)
