"""The only wiring: settings -> state -> backends -> context -> host."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from litestar import Litestar

from portal.runtime.agent.turn import TurnRunner
from portal.runtime.backends.backend import Backend
from portal.runtime.backends.kinds import make_backends
from portal.runtime.catalogue import discover
from portal.runtime.context import CallContext, Generation
from portal.runtime.hosts.adapter import Host
from portal.runtime.hosts.gate import Gate
from portal.runtime.hosts.litestar_host import Application, build_application
from portal.runtime.ops.health import HealthMonitor
from portal.runtime.ops.openapi import Catalogue
from portal.runtime.ops.schema import Settings
from portal.runtime.ops.sessions import PageSessions
from portal.runtime.routing.discovery import Discovery
from portal.runtime.routing.registry import Registry
from portal.runtime.routing.relay import RawGateway
from portal.runtime.routing.usage import UsageRing
from portal.runtime.ui.pages import PackagedPages

if TYPE_CHECKING:
    from portal.runtime.backends.embedded import EmbeddedBackend


class ProcessControl:
    """Implements the Control port; the process says what a stop is."""

    def __init__(self, stop: Callable[[], None] | None = None) -> None:
        self._stop = stop

    def on_stop(self, stop: Callable[[], None]) -> None:
        """Say what a stop does."""
        self._stop = stop

    def stop(self) -> None:
        if self._stop is not None:
            self._stop()


def create_app(settings: Settings, *, owner_token: str | None = None) -> Application:
    """Build the Litestar application of these settings; nothing runs before its lifespan."""
    backends: list[Backend] = [*make_backends(settings)]
    embedded = _embedded(settings)
    if embedded is not None:
        backends.append(embedded)
    registry = Registry(backends, settings.workspaces)
    discovery = Discovery(
        backends, interval=settings.server.discover_seconds, changed=registry.rebuild
    )
    usage = UsageRing()
    sessions = PageSessions()
    functions = discover(context=CallContext)
    control = ProcessControl()
    generation = Generation(
        settings=settings,
        models=registry,
        gateway=RawGateway(registry, usage, patience=settings.server.heartbeat_seconds),
        turns=TurnRunner(registry, discovery, usage),
        usage=usage,
        health=HealthMonitor(backends, lambda: host.accepting),
        documentation=Catalogue(functions),
        pages=PackagedPages(),
        sessions=sessions,
        control=control,
    )
    gate = Gate(settings, owner_token=owner_token, session_caller=sessions.caller)
    host = Host(generation, gate)

    @contextlib.asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        discovery.start()
        warming = asyncio.create_task(_warm(discovery, backends, embedded))
        host.accepting = True
        try:
            yield
        finally:
            host.accepting = False
            warming.cancel()
            await asyncio.gather(warming, return_exceptions=True)
            await discovery.stop()
            await asyncio.gather(
                *(backend.aclose() for backend in backends), return_exceptions=True
            )

    return build_application(host, functions, [lifespan])


def _embedded(settings: Settings) -> "EmbeddedBackend | None":
    if not settings.embedded.enabled:
        return None
    from portal.runtime.backends.embedded import EmbeddedBackend
    from portal.runtime.backends.embedded_server import EmbeddedServer

    server = EmbeddedServer(settings.embedded, settings.state_dir)
    return EmbeddedBackend(server)


async def _warm(
    discovery: Discovery, backends: list[Backend], embedded: "EmbeddedBackend | None"
) -> None:
    """Load the embedded model at once when nothing else could answer a first question."""
    await discovery.first_round()
    if embedded is not None and not any(
        backend.available for backend in backends if backend is not embedded
    ):
        embedded.warm()
