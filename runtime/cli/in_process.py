"""The same application without a server: built from the settings, for one command, and closed."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from portal.functions.answers import compare
from portal.runtime.app import create_app
from portal.runtime.backends.backend import Backend
from portal.runtime.context import CallContext
from portal.runtime.ops.instance import acquire
from portal.runtime.ops.schema import Settings
from portal.runtime.ops.sessions import OWNER
from portal.runtime.routing.directory import Directory
from portal.runtime.routing.registry import Registry
from portal.runtime.state.backup import refuse_newer
from portal.shared.contract import Call
from portal.shared.decisions import Decision
from portal.shared.errors import AlreadyRunning, Conflict
from portal.shared.ids import new_id
from portal.shared.messages import Message
from portal.shared.model_list import ModelEntry, list_entries
from portal.shared.model_operations import PullProgress
from portal.shared.models import BackendStatus, Persona
from portal.shared.route_request import RouteQuestion, read_question
from portal.shared.turns import Sampling, TurnEvent, TurnRequest

if TYPE_CHECKING:
    from portal.runtime.context import Generation


class InProcess:
    """Answers a command from a generation of its own; offers what a running server offers."""

    def __init__(self, generation: "Generation", registry: Registry) -> None:
        self.generation = generation
        self.registry = registry

    async def models(self) -> Sequence[ModelEntry]:
        """List workspaces, personas and models."""
        registry = self.registry
        return list_entries(registry.workspaces(), registry.models(), await self.backends())

    async def backends(self) -> Sequence[BackendStatus]:
        """List the backends."""
        return self.generation.health.backends()

    async def route(self, question: RouteQuestion) -> Decision:
        """Say what would answer a question, and why."""
        call = _call("routing.explain")
        return await self.generation.routing.explain(call, read_question(question))

    async def compare(self, models: Sequence[str], prompt: str) -> compare.Comparison:
        """Ask several models the same."""
        context = CallContext(self.generation, _call("answers.compare"))
        return await compare.handle(compare.Request(list(models), prompt), context)

    def pull(self, model: str) -> AsyncGenerator[PullProgress, None]:
        """Let a backend download a model. Closing the iterator ends the download."""
        return self.generation.model_admin.pull(model)

    async def remove(self, model: str) -> None:
        """Delete a model from its backend."""
        await self.generation.model_admin.remove(model)

    async def load(self, model: str) -> None:
        """Bring a model into its backend's memory; the embedded one would leave with us."""
        if self.registry.resolve(model).kind == "embedded":
            raise Conflict(
                "The embedded model lies in the memory of a running Portal, and none runs. "
                "`portal up` starts it."
            )
        await self.generation.model_admin.load(model)

    async def unload(self, model: str) -> None:
        """Free the memory that a model takes."""
        await self.generation.model_admin.unload(model)

    async def answer(
        self, messages: Sequence[Message], model: str, sampling: Sampling | None = None
    ) -> AsyncGenerator[TurnEvent]:
        """Stream one turn. Closing the iterator early closes the connection to the backend."""
        request = TurnRequest(
            tuple(messages),
            model,
            OWNER.user,
            Sampling() if sampling is None else sampling,
            channel="cli",
        )
        events = self.generation.turns.run(_call("turns.create"), request)
        async with contextlib.aclosing(events) as source:
            async for event in source:
                yield event


def _call(function: str) -> Call:
    return Call(new_id(), OWNER, function, time.perf_counter())


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


def list_personas(settings: Settings) -> Sequence[Persona]:
    """List the personas, without asking any backend."""
    return create_app(settings).host.generation.personas.personas()


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
        refuse_newer(settings.state_dir)
        application = create_app(settings)
        async with application.lifespan():
            yield _in_process(application.host.generation)
    finally:
        lock.release()


class OwnApplication:
    """The application in this process, from `open` to `close`, in a task of its own.

    Its lifespan has to end in the task in which it began, while questions run in others, and
    would wrap an error that passes through it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._end = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> InProcess:
        """Start it. Raises AlreadyRunning."""
        opened: asyncio.Future[InProcess] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._live(opened), name="application")
        both: tuple[asyncio.Future[Any], ...] = (self._task, opened)
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not opened.done():
            await self._task
        return opened.result()

    async def close(self) -> None:
        """End it, and its child processes with it."""
        self._end.set()
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _live(self, opened: "asyncio.Future[InProcess]") -> None:
        async with whole(self._settings) as door:
            opened.set_result(door)
            await self._end.wait()


def _in_process(generation: "Generation") -> InProcess:
    directory = generation.models
    assert isinstance(directory, Directory)
    return InProcess(generation, directory.registry)
