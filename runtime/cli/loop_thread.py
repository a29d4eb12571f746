"""An event loop in a thread of its own, which goes on while the terminal waits for a line.

A loop that stood still between two questions would find its timeouts over when it woke up.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")
LOOK_SECONDS = 0.5
"""Longest wait that Ctrl-C cannot end, on systems where a lock cannot be interrupted."""
CLOSE_SECONDS = 5.0
"""Longest wait for interrupted work to let go of what it holds."""


class LoopThread:
    """Runs coroutines for the main thread, from `__enter__` to `__exit__`."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._live, name="loop")

    def __enter__(self) -> Self:
        self._thread.start()
        self._running.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end and give the result. KeyboardInterrupt cancels the work first."""
        assert self._loop is not None
        ended = threading.Event()

        async def whole() -> T:
            try:
                return await work
            finally:
                ended.set()

        future = asyncio.run_coroutine_threadsafe(whole(), self._loop)
        try:
            while not concurrent.futures.wait((future,), LOOK_SECONDS).done:
                pass
        except KeyboardInterrupt:
            future.cancel()
            ended.wait(CLOSE_SECONDS)
            raise
        return future.result()

    def _live(self) -> None:
        asyncio.run(self._until_stopped())

    async def _until_stopped(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._running.set()
        await self._stop.wait()
