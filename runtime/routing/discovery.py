"""Keep the registry true: ask every backend for its models, at start and ever so often.

Each backend has a loop of its own, so that a slow one delays no other.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from portal.runtime.backends.backend import Backend
from portal.shared.errors import PortalError

log = logging.getLogger("portal.discovery")

FIRST_ROUND_SECONDS = 3.0
"""Time from the start for which questions wait for the backends to be known."""


class Discovery:
    """The loops, from `start` to `stop`; `changed` is called after each answer of a backend."""

    def __init__(
        self,
        backends: Sequence[Backend],
        *,
        interval: float,
        changed: Callable[[Backend], None],
    ) -> None:
        self._backends = {backend.name: backend for backend in backends}
        self._interval = interval
        self._changed = changed
        self._tasks: list[asyncio.Task[None]] = []
        self._peeks: dict[str, asyncio.Task[None]] = {}
        self._pending: set[str] = set(self._backends)
        self._round = asyncio.Event()
        self._started = 0.0

    def start(self) -> None:
        """Begin to ask, without waiting for any answer."""
        if not self._pending:
            self._round.set()
        self._started = asyncio.get_running_loop().time()
        self._tasks = [
            asyncio.create_task(self._loop(backend), name=f"discover {backend.name}")
            for backend in self._backends.values()
        ]

    @property
    def is_round(self) -> bool:
        """Whether every backend has answered or failed once."""
        return self._round.is_set()

    async def first_round(self) -> None:
        """Wait until every backend has answered or failed once, within reason.

        Not where nobody asks them: what is known then is all there will be.
        """
        if self._round.is_set() or not self._tasks:
            return
        with contextlib.suppress(TimeoutError):
            # From the start, not from now: a silent backend is not waited for by each anew.
            async with asyncio.timeout_at(self._started + FIRST_ROUND_SECONDS):
                await self._round.wait()

    async def look(self, name: str) -> None:
        """Ask one backend now."""
        backend = self._backends[name]
        before = backend.status().state
        try:
            await backend.discover()
            self._changed(backend)
        except Exception:
            # A backend that lies in a new way must not end the asking of it.
            log.exception("discovery of %s failed", backend.name)
        now = backend.status()
        if now.state != before and now.state in ("live", "dead"):
            reason = f": {now.error}" if now.error else ""
            log.info("backend %s is %s%s", backend.name, now.state, reason)

    def peek(self, name: str) -> None:
        """Ask soon which models lie in a backend's memory, without waiting for it."""
        if name not in self._peeks and self._tasks:
            task = asyncio.create_task(self._peek(name), name=f"peek {name}")
            self._peeks[name] = task
            task.add_done_callback(lambda _: self._peeks.pop(name, None))

    async def stop(self) -> None:
        """End the loops."""
        tasks = [*self._tasks, *self._peeks.values()]
        self._tasks = []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _peek(self, name: str) -> None:
        backend = self._backends[name]
        try:
            if await backend.loaded() is not None:
                self._changed(backend)
        except PortalError as error:
            log.debug("no look at what %s has loaded: %s", name, error)
        except Exception:
            log.exception("a look at what %s has loaded failed", name)

    async def _loop(self, backend: Backend) -> None:
        while True:
            await self.look(backend.name)
            self._pending.discard(backend.name)
            if not self._pending:
                self._round.set()
            await asyncio.sleep(self._interval)
