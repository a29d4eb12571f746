"""Where commands are answered: by the Portal that runs, else by the same application in here."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from portal.runtime.cli.running import find_running

if TYPE_CHECKING:
    from portal.functions.answers.compare import Comparison
    from portal.runtime.ops.schema import Settings
    from portal.shared.decisions import Decision
    from portal.shared.model_list import ModelEntry
    from portal.shared.model_operations import PullProgress
    from portal.shared.models import BackendStatus
    from portal.shared.route_request import RouteQuestion


class Door(Protocol):
    """What a command may ask, whoever answers. Each raises PortalError with words to be shown."""

    async def models(self) -> "Sequence[ModelEntry]":
        """List workspaces, personas and models."""
        ...

    async def backends(self) -> "Sequence[BackendStatus]":
        """List the backends."""
        ...

    async def route(self, question: "RouteQuestion") -> "Decision":
        """Say what would answer a question, and why."""
        ...

    async def compare(self, models: Sequence[str], prompt: str) -> "Comparison":
        """Ask several models the same."""
        ...

    def pull(self, model: str) -> "AsyncGenerator[PullProgress, None]":
        """Let a backend download a model. Closing the iterator ends the download."""
        ...

    async def remove(self, model: str) -> None:
        """Delete a model from its backend."""
        ...

    async def load(self, model: str) -> None:
        """Bring a model into its backend's memory."""
        ...

    async def unload(self, model: str) -> None:
        """Free the memory that a model takes."""
        ...


@asynccontextmanager
async def open_door(settings: "Settings", *, whole: bool = False) -> AsyncIterator[Door]:
    """Open the running Portal, or else the application in this process for one command.

    `whole`: with all that answering takes, and under the lock of the state directory; otherwise
    the backends are asked once what they have. Raises AlreadyRunning.
    """
    running = find_running(settings.state_dir)
    if running is not None:
        yield running
        return

    from portal.runtime.cli.in_process import OwnApplication, look_around

    if not whole:
        async with look_around(settings) as found:
            yield found
        return
    own = OwnApplication(settings)
    try:
        yield await own.open()
    finally:
        await own.close()
