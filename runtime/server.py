"""The process: one socket, one uvicorn, a start that says when it is ready and an orderly stop."""

import asyncio
import errno
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn

from portal.runtime.hosts.http_protocol import guarded_protocol
from portal.runtime.hosts.litestar_host import Application
from portal.runtime.ops.schema import Settings
from portal.shared.errors import ConfigurationError

KEEP_ALIVE_SECONDS = 75
HANG_UP: signal.Signals | None = getattr(signal, "SIGHUP", None)
"""The terminal was closed; Windows knows Ctrl-Break instead."""

ENDING = tuple(
    found
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    if (found := getattr(signal, name, None)) is not None
)
CUT_MARGIN = 2.0
"""Seconds before the end of a stop at which running answers are cut: enough for their last words,
and for the embedded model's process to end by itself."""

LAST_WORDS = 0.7
"""Seconds for the answers that were cut to end, a little more than each call has for its words."""

HURRIED_END = 1.0
"""Longest end of Portal's own parts, in seconds, after somebody asked twice."""

LOOK_SECONDS = 0.02
"""Pause between looks at whether all is done, while stopping."""

log = logging.getLogger("portal.server")


class Server(uvicorn.Server):
    """uvicorn with an orderly stop in bounded time, which a second signal hurries."""

    def __init__(
        self, settings: Settings, application: Application, ready: Callable[[], None]
    ) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                http=guarded_protocol(
                    max_header_bytes=settings.server.max_header_bytes,
                    header_seconds=settings.server.header_seconds,
                ),
                ws="none",
                lifespan="on",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
            )
        )
        self._application = application
        self._ready = ready
        self._seconds = settings.server.shutdown_seconds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started and not self.should_exit:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nothing new, let answers end, cut what is left, then close Portal's own parts.

        All of it within `server.shutdown_seconds`; the parts are closed also after a second signal.
        """
        host, state = self._application.host, self.server_state
        host.accepting = False
        now = asyncio.get_running_loop().time
        end = now() + self._seconds
        patience = self._seconds - min(CUT_MARGIN, self._seconds / 2)
        if host.calls:
            log.info(
                "%d answers under way may end within %g s; a second signal cuts them.",
                len(host.calls),
                patience,
            )
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        for connection in tuple(state.connections):
            connection.shutdown()
        if not await self._done(now() + patience, hurried=True):
            host.cut_calls()
            if not await self._done(now() + min(LAST_WORDS, self._seconds / 4)):
                await self._break_off()
        if self.force_exit:
            end = min(end, now() + HURRIED_END)
        await self._close_parts(end - now())

    async def _done(self, until: float, *, hurried: bool = False) -> bool:
        """Wait for the connections and their tasks to end; False if time, or patience, ran out."""
        state, now = self.server_state, asyncio.get_running_loop().time
        while state.connections or state.tasks:
            if now() >= until or (hurried and self.force_exit):
                return False
            await asyncio.sleep(LOOK_SECONDS)
        return True

    async def _break_off(self) -> None:
        """End the connections of clients that do not read, and calls that did not heed the cut."""
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()
        # A call that waited for such a client ends by itself now.
        await asyncio.sleep(LOOK_SECONDS)
        self._application.host.cut_calls()
        await asyncio.sleep(LOOK_SECONDS)

    async def _close_parts(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(seconds, LOOK_SECONDS)):
                await self.lifespan.shutdown()
        except TimeoutError:
            log.warning("Portal did not end in order within %g s.", self._seconds)
            # The end of the loop cancels it, which ends the embedded model's process by force;
            # uvicorn would say so once more, with a traceback.
            self.lifespan.logger = logging.getLogger("portal.server.silent")
            self.lifespan.logger.disabled = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note that the process shall end; runs between any two instructions of the main thread.

        A closed terminal may send SIGHUP twice, which is nobody's impatience.
        """
        if self.should_exit and sig != HANG_UP:
            self.force_exit = True
        self.should_exit = True

    def stop(self) -> None:
        """End the process in order, as SIGTERM does."""
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals that mean an end; a stop by one of them is a success, not a crash."""
        before = {
            number: signal.signal(number, self.handle_exit)
            for number in ENDING
            # Started by nohup, it shall outlive its terminal.
            if number != HANG_UP or signal.getsignal(number) is not signal.SIG_IGN
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def bind(host: str, port: int) -> socket.socket:
    """Open the listening socket. Raises ConfigurationError, naming what is in the way.

    A name that has addresses of both families is bound to the first of IPv4, as clients that are
    given 127.0.0.1 expect of `localhost`.
    """
    found: list[Any] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(
            f"server.host is {host!r}, which is no address: {error}"
        ) from error
    # The sort keeps the system's order within a family.
    found.sort(key=lambda candidate: candidate[0] != socket.AF_INET)
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and host != "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(2048)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ConfigurationError(_why(host, port, error)) from error
    return listener


def _why(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is in use by another program. `portal doctor` names it; "
            "`portal up --port 8082` or server.port takes another."
        )
    if error.errno == errno.EACCES:
        return f"port {port} needs more rights than this user has; take one above 1023."
    return f"cannot listen on {host}:{port}: {error.strerror}."


def url_of(listener: socket.socket) -> str:
    """Write the address that a browser on this machine uses for this socket."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 — compared, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
