"""The only wiring: settings -> state -> backends -> context -> host."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import msgspec
from litestar import Litestar

from portal.runtime.admission.breakers import Breakers
from portal.runtime.admission.load import BackendLoad, Load
from portal.runtime.admission.passage import Passages
from portal.runtime.admission.recovery import Recovery
from portal.runtime.agent.turn import TurnRunner
from portal.runtime.backends.backend import Backend
from portal.runtime.backends.http_backend import PROBE_SECONDS
from portal.runtime.backends.kinds import make_backends
from portal.runtime.backends.own_embeddings import OwnEmbeddings
from portal.runtime.catalogue import discover
from portal.runtime.context import CallContext, Generation
from portal.runtime.hosts.adapter import Host
from portal.runtime.hosts.gate import Gate
from portal.runtime.hosts.litestar_host import Application, build_application
from portal.runtime.ops.health import HealthMonitor
from portal.runtime.ops.memory import total_memory
from portal.runtime.ops.metrics import GatewayMetrics
from portal.runtime.ops.openapi import Catalogue
from portal.runtime.ops.schema import Backend as BackendSettings
from portal.runtime.ops.schema import Settings
from portal.runtime.ops.sessions import PageSessions
from portal.runtime.routing.administration import Administration
from portal.runtime.routing.answering import Answering
from portal.runtime.routing.directory import Directory
from portal.runtime.routing.discovery import Discovery
from portal.runtime.routing.pace import Pace
from portal.runtime.routing.persona_watch import PersonaWatch
from portal.runtime.routing.personas import load_personas, own_folder
from portal.runtime.routing.registry import Registry
from portal.runtime.routing.relay import RawGateway
from portal.runtime.routing.router import Router
from portal.runtime.state.conversations import ConversationStore
from portal.runtime.state.database import Database
from portal.runtime.state.usage import StoredUsage
from portal.runtime.ui.pages import PackagedPages
from portal.runtime.windows.fitting import Fitting
from portal.shared.models import BreakerState

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
    database = Database(settings.state_dir, settings.state)
    conversations = ConversationStore(database, search_matches=settings.state.search_matches)
    usage = StoredUsage(database, settings.state)
    routing = _routing(settings, backends, usage)
    discovery = routing.discovery
    sessions = PageSessions()
    functions = discover(context=CallContext)
    control = ProcessControl()
    generation = Generation(
        settings=settings,
        models=routing.directory,
        gateway=routing.gateway,
        routing=routing.router,
        model_admin=routing.administration,
        personas=routing.registry,
        turns=routing.turns,
        usage=usage,
        conversations=conversations,
        health=HealthMonitor(
            backends,
            lambda: host.accepting,
            routing.breakers.status,
            lambda: database.problem,
        ),
        metrics=GatewayMetrics(backends, routing.breakers, routing.load, usage, routing.pace),
        documentation=Catalogue(functions),
        pages=PackagedPages(),
        sessions=sessions,
        control=control,
    )
    watch = PersonaWatch(
        own_folder(settings), routing.registry, interval=settings.server.discover_seconds
    )
    gate = Gate(settings, owner_token=owner_token, session_caller=sessions.caller)
    host = Host(generation, gate)

    @contextlib.asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with state(), work():
            yield

    @contextlib.asynccontextmanager
    async def state() -> AsyncIterator[None]:
        """Open the state first and close it last: whatever ends may still have to be kept."""
        await database.start()
        try:
            await usage.start()
            try:
                yield
            finally:
                await conversations.finish()
                await usage.stop()
        finally:
            await database.close()

    @contextlib.asynccontextmanager
    async def work() -> AsyncIterator[None]:
        discovery.start()
        routing.recovery.start()
        watch.start()
        warming = asyncio.create_task(_warm(discovery, backends, embedded))
        host.accepting = True
        try:
            yield
        finally:
            host.accepting = False
            warming.cancel()
            await asyncio.gather(warming, return_exceptions=True)
            await watch.stop()
            await routing.recovery.stop()
            await discovery.stop()
            await asyncio.gather(
                *(backend.aclose() for backend in backends), return_exceptions=True
            )

    return build_application(host, functions, [lifespan])


class Routing(msgspec.Struct, frozen=True):
    """What finds a model for a question, and keeps to its limits."""

    registry: Registry
    directory: Directory
    discovery: Discovery
    recovery: Recovery
    breakers: Breakers
    load: Load
    pace: Pace
    router: Router
    turns: TurnRunner
    gateway: RawGateway
    administration: Administration


def _routing(settings: Settings, backends: list[Backend], usage: StoredUsage) -> Routing:
    personas = load_personas(own_folder(settings))
    registry = Registry(backends, settings, personas=personas, memory=total_memory())
    load = Load(settings.load, {each.name: _load_of(each) for each in settings.backends})

    def opened(backend: str, model: str, state: BreakerState) -> None:
        recovery.changed(backend, model, state)

    def changed(backend: Backend) -> None:
        registry.rebuild()
        models = backend.models()
        if any(model.loaded is not None for model in models):
            load.observe(backend.name, frozenset(each.name for each in models if each.loaded))

    def used(backend: str, name: str) -> None:
        model = registry.find(backend, name)
        if model is not None and model.loaded is False:
            # It is now, and may have displaced another: that is worth a look.
            discovery.peek(backend)

    probing = min(settings.breaker.recovery_seconds, PROBE_SECONDS)
    breakers = Breakers(settings.breaker, on_change=opened, probe_seconds=probing)
    discovery = Discovery(backends, interval=settings.server.discover_seconds, changed=changed)
    recovery = Recovery(
        breakers,
        registry,
        discovery.look,
        recovery_seconds=settings.breaker.recovery_seconds,
    )
    passages = Passages(breakers, load)
    pace = Pace()
    fitting = Fitting(registry)
    answering = Answering(
        passages, usage, pace, settings.routing, counted=fitting.counted, used=used
    )
    router = Router(registry, discovery, passages, pace, settings)
    return Routing(
        registry,
        Directory(registry, passages, OwnEmbeddings(), discovery.first_round),
        discovery,
        recovery,
        breakers,
        load,
        pace,
        router,
        TurnRunner(registry, router, answering, fitting),
        RawGateway(
            registry,
            discovery,
            answering,
            fitting,
            patience=settings.server.heartbeat_seconds,
            settings=settings.routing,
        ),
        Administration(registry, breakers, discovery.look, discovery.first_round),
    )


def _load_of(backend: BackendSettings) -> BackendLoad:
    return BackendLoad(backend.max_concurrency or backend.max_connections, backend.max_loaded)


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
