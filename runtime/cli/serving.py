"""Serve until told to stop: what happens when the server is ready, and who is told what."""

import asyncio
import contextlib
import os
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Iterator, Sequence

from portal.runtime.app import ProcessControl, create_app
from portal.runtime.cli import banner
from portal.runtime.cli.terminal import Terminal
from portal.runtime.context import Generation
from portal.runtime.ops.instance import InstanceLock, RunInfo, new_token
from portal.runtime.ops.schema import Settings
from portal.runtime.ops.sessions import OWNER
from portal.runtime.ops.version import version
from portal.runtime.routing.discovery import FIRST_ROUND_SECONDS
from portal.runtime.server import Server, url_of
from portal.shared.contract import Call
from portal.shared.decisions import Candidate
from portal.shared.errors import ConfigurationError, PortalError
from portal.shared.ids import new_id
from portal.shared.messages import Message
from portal.shared.models import BackendStatus
from portal.shared.turns import TurnRequest

LOOK_SECONDS = 0.05
"""Pause between looks at whether every backend has answered once."""
EVERYDAY = "What should I see in Lisbon in two days?"
"""A question of no special kind, to find out who answers such."""


def serve(
    settings: Settings,
    listener: socket.socket,
    lock: InstanceLock,
    terminal: Terminal,
    *,
    link: bool,
    browser: bool,
) -> bool:
    """Run the server on a bound socket until it is stopped; False when it could not start.

    `link`: print the address that signs a browser in. `browser`: open it too.
    """
    token = new_token()
    application = create_app(settings, owner_token=token)
    generation = application.host.generation
    url = url_of(listener)
    tasks: set[asyncio.Task[None]] = set()

    def ready() -> None:
        lock.publish(RunInfo(os.getpid(), url, token, time.time(), version()))
        page = f"{url}/portal/session/{generation.sessions.new_link()}"
        _tell(terminal, banner.started(version(), url, page if link else None))
        if browser and has_browser(dict(os.environ)):
            open_browser(f"{url}/portal/session/{generation.sessions.new_link()}")
        tasks.add(asyncio.get_running_loop().create_task(_say_who_answers(generation, terminal)))

    server = Server(settings, application, ready)
    control = generation.control
    assert isinstance(control, ProcessControl)
    control.on_stop(server.stop)
    try:
        server.run(sockets=[listener])
    except SystemExit as error:
        raise ConfigurationError("Portal could not start; the log above says why.") from error
    return server.started


def secrets_of(settings: Settings) -> Iterator[str]:
    """Give every secret of the settings, to be kept out of the log."""
    keys = (settings.router_token, settings.auth.api_key)
    for secret in (*keys, *(backend.api_key for backend in settings.backends)):
        if secret:
            yield secret


def has_browser(environ: dict[str, str], platform: str = sys.platform) -> bool:
    """Tell whether a window can open here: not over SSH, and on Linux only with a display.

    Without one, Python would start a browser inside the terminal.
    """
    if environ.get("SSH_CONNECTION"):
        return False
    if platform in ("darwin", "win32"):
        return True
    return bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def open_browser(link: str) -> None:
    """Open a page without waiting for the browser; that there is none harms nothing."""

    def open_it() -> None:
        with contextlib.suppress(webbrowser.Error, OSError):
            webbrowser.open(link)

    threading.Thread(target=open_it, name="browser", daemon=True).start()


async def _choose_auto(generation: Generation) -> Candidate | None:
    """Find which model answers an everyday question to `auto` now; None when none does."""
    call = Call(new_id(), OWNER, "up", time.perf_counter())
    question = TurnRequest((Message("user", EVERYDAY),))
    try:
        return (await generation.routing.explain(call, question, ask=False)).candidates[0]
    except PortalError:
        return None


async def _say_who_answers(generation: Generation, terminal: Terminal) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FIRST_ROUND_SECONDS):
            while _is_new(generation.health.backends()):  # noqa: ASYNC110 — read from memory
                await asyncio.sleep(LOOK_SECONDS)
    statuses = generation.health.backends()
    chosen = await _choose_auto(generation)
    parameters = next(
        (
            model.parameters
            for model in generation.models.models()
            if chosen and (model.backend, model.name) == (chosen.backend, chosen.model)
        ),
        None,
    )
    problems = generation.health.health().problems
    _tell(terminal, banner.answering(chosen, statuses, problems, parameters))


def _is_new(statuses: Sequence[BackendStatus]) -> bool:
    return any(status.state == "unknown" for status in statuses)


def _tell(terminal: Terminal, lines: list[str]) -> None:
    """Write what nobody may be left to read: that must not stop the server."""
    with contextlib.suppress(OSError):
        for line in lines:
            terminal.say(line)
