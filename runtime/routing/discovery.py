"""Keep the registry true: ask every backend for its models, at start and ever so often.

Each backend has a loop of its own, so that a slow one delays no other.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from portal.runtime.backends.backend import Backend

log = logging.getLogger("portal.discovery")

FIRST_ROUND_SECONDS = 3.0
"""Longest time that a question asked right after the start waits for the backends to be known."""


class Discovery:
    """The loops, from `start` to `stop`; `changed` is called after each answer."""

    def __init__(
        self, backends: Sequence[Backend], *, interval: float, changed: Callable[[], None]
    ) -> None:
        self._backends = backends
        self._interval = interval
        self._changed = changed
        self._tasks: list[asyncio.Task[None]] = []
        self._pending: set[str] = {backend.name for backend in backends}
        self._round = asyncio.Event()

    def start(self) -> None:
        """Begin to ask, without waiting for any answer."""
        if not self._pending:
            self._round.set()
        self._tasks = [
            asyncio.create_task(self._loop(backend), name=f"discover {backend.name}")
            for backend in self._backends
        ]

    async def first_round(self) -> None:
        """Wait until every backend has answered or failed once, within reason."""
        if self._round.is_set():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_ROUND_SECONDS):
                await self._round.wait()

    async def stop(self) -> None:
        """End the loops."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _loop(self, backend: Backend) -> None:
        while True:
            before = backend.status().state
            try:
                await backend.discover()
            except Exception:
                # A backend that lies in a new way must not end the asking of it.
                log.exception("discovery of %s failed", backend.name)
            now = backend.status()
            if now.state != before and now.state in ("live", "dead"):
                reason = f": {now.error}" if now.error else ""
                log.info("backend %s is %s%s", backend.name, now.state, reason)
            self._changed()
            self._pending.discard(backend.name)
            if not self._pending:
                self._round.set()
            await asyncio.sleep(self._interval)
