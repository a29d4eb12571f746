"""The embedded model's server: started on first use, shared, stopped when idle, restarted.

Owns at most one child process and decides about it; `embedded_process` does it. One event loop
only. Who wants to talk to the model takes a lease, and the child is not unloaded while one is out.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from portal.runtime.backends.embedded_process import COMMAND, ChildFailed, ChildProcess, launch
from portal.runtime.backends.weights import (
    Facts,
    Weights,
    check_weights,
    extra_installed,
    find_weights,
)
from portal.runtime.ops.schema import Embedded
from portal.shared.errors import BackendUnreachable, ConfigurationError

NAME = "embedded"
MANY = 1 << 31
NO_EXTRA = "The library xllamacpp is not installed: pip install 'portal-local[embedded]'"
NO_WEIGHTS = "The embedded model's weights are missing: portal models pull embedded"
SWITCHED_OFF = "Switched off by embedded.enabled = false"
STOPPING = "Portal is stopping"


class Pace(msgspec.Struct, frozen=True):
    """How patient the supervision is; seconds, but for `tries`."""

    first_wait: float = 0.25
    """Wait after the first crash or failed start; it doubles with each further one in a row."""
    longest_wait: float = 30.0
    tries: int = 5
    """Crashes in a row after which it is dead until somebody wants it."""
    settled: float = 60.0
    """A child that ran this long begins a new row."""
    grace: float = 2.0
    """Given to a child before each harder way to end it."""


class Found(msgspec.Struct, frozen=True):
    """What lies on the disk: the weights, or what is missing, or what is wrong with them."""

    weights: Weights | None = None
    missing: str = ""
    wrong: str = ""


class Lease:
    """The use of the running server; released once, however often `release` is called."""

    def __init__(self, server: "EmbeddedServer", child: ChildProcess) -> None:
        self.url = child.url
        """Without `/v1`."""
        self.api_key = child.api_key
        self._server = server
        self._child: ChildProcess | None = child

    def release(self) -> None:
        """Give it back; after the last one the idle time begins."""
        child, self._child = self._child, None
        if child is not None:
            self._server._released(child)


class EmbeddedServer:
    """The supervised child process, as the embedded backend uses it."""

    def __init__(
        self,
        settings: Embedded,
        state_dir: Path,
        *,
        child_command: Sequence[str] | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._settings = settings
        self._state_dir = state_dir
        self._own_program = child_command is None
        self._command = tuple(child_command or COMMAND)
        self._pace = pace or Pace()
        self._found = Found()
        self._problem = ""
        self._child: ChildProcess | None = None
        self._starting: asyncio.Task[str] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: asyncio.TimerHandle | None = None
        self._failures = 0
        self._failed = False
        self._next_try = 0.0
        self._closed = False
        self.look()

    @property
    def state(self) -> Literal["absent", "standby", "starting", "live", "dead"]:
        """Say how things are, from memory; what a start needs is looked up by `look`."""
        if self._child is not None:
            return "live"
        if self._starting is not None:
            return "starting"
        if self._found.missing:
            return "absent"
        return "dead" if self._found.wrong or self._failed else "standby"

    @property
    def available(self) -> bool:
        """Tell whether a lease makes sense now; a dead one does again after its wait."""
        if self._child is not None:
            return not self._closed
        if self._closed or self._found.missing or self._found.wrong:
            return False
        return not self._failed or self._wait() <= 0

    @property
    def problem(self) -> str:
        """One line: why it is not live and what would help; empty when all is well."""
        if self._child is not None:
            return ""
        return self._found.missing or self._found.wrong or self._problem

    @property
    def pid(self) -> int | None:
        """The process id of the running child."""
        return None if self._child is None else self._child.pid

    @property
    def facts(self) -> Facts | None:
        """What is known of the model, its window as it is or will be served; None: no weights."""
        weights = self._found.weights if self._child is None else self._child.weights
        if weights is None:
            return None
        window = min(self._settings.context_window, weights.facts.context_window or MANY)
        if self._child is not None:
            window = self._child.context_window
        return msgspec.structs.replace(weights.facts, context_window=window)

    @property
    def size_bytes(self) -> int | None:
        """Size of the weights."""
        return None if self._found.weights is None else self._found.weights.size_bytes

    def look(self) -> None:
        """Look again for the extra and the weights; a little disk, no digest. Any thread."""
        if not self._settings.enabled:
            self._found = Found(missing=SWITCHED_OFF)
            return
        try:
            weights = find_weights(self._settings, self._state_dir)
        except ConfigurationError as error:
            self._found = Found(wrong=str(error))
            return
        if self._own_program and not extra_installed():
            self._found = Found(weights, missing=NO_EXTRA)
        else:
            self._found = Found(weights, missing="" if weights else NO_WEIGHTS)

    def start(self) -> None:
        """Warm it up in the background; a failure shows in `state` and `problem`."""
        if not self._closed and self._child is None and self._starting is None:
            self._begin(self._bring_up())

    async def lease(self) -> Lease:
        """Use the server, started if need be; callers at the same time share one start.

        Raises BackendUnreachable with the reason. Cancelling it leaves the start to the others.
        """
        while self._child is None:
            if self._closed:
                raise BackendUnreachable(STOPPING, backend=NAME)
            if self._starting is None and self._failures > self._pace.tries and self._wait() > 0:
                raise BackendUnreachable(self._problem, backend=NAME)
            starting = self._starting or self._begin(self._bring_up())
            await asyncio.wait((starting,))
            reason = STOPPING if starting.cancelled() else starting.result()
            if reason:
                raise BackendUnreachable(reason, backend=NAME)
        child = self._child
        child.leases += 1
        self._stop_idling()
        return Lease(self, child)

    def unload(self) -> bool:
        """End the child unless it is in use or starting; says whether none is left."""
        if self._starting is not None or (self._child is not None and self._child.leases > 0):
            return False
        self._retire()
        return True

    async def aclose(self) -> None:
        """End the child, a start under way included; idempotent."""
        self._closed = True
        self._stop_idling()
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait((self._starting,))
        self._retire()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _wait(self) -> float:
        """Seconds until the next try is due."""
        if not self._failures:
            return 0.0
        return max(0.0, self._next_try - asyncio.get_running_loop().time())

    def _begin(self, start: Coroutine[Any, Any, str]) -> asyncio.Task[str]:
        starting = asyncio.create_task(start)
        starting.add_done_callback(self._begun)
        self._starting = starting
        return starting

    def _begun(self, starting: asyncio.Task[str]) -> None:
        if self._starting is starting:
            self._starting = None

    async def _bring_up(self, *, restart: bool = False) -> str:
        """Start the child when its time has come; returns why not, or nothing when it is live."""
        try:
            await asyncio.sleep(self._wait())
            if self._tasks:  # two children at once would need twice the memory
                await asyncio.wait(self._tasks)
            await asyncio.to_thread(self.look)
            weights = self._found.weights
            if weights is None or self._found.missing:
                return self.problem
            await asyncio.to_thread(check_weights, weights, self._state_dir)
            log = self._state_dir / "logs" / "embedded.log"
            child = await launch(self._command, self._settings, weights, log, self._pace.grace)
        except (ChildFailed, ConfigurationError, OSError) as error:
            self._count_failure(f"The embedded model did not start: {error}")
            self._failed = True
            if restart and self._failures <= self._pace.tries and not self._closed:
                self._begin(self._bring_up(restart=True))
            return self._problem
        self._child = child
        self._failed = False
        self._problem = ""
        self._keep(self._watch(child))
        self._start_idling()
        return ""

    async def _watch(self, child: ChildProcess) -> None:
        """Wait for the child's end, and bring it back if nobody asked for that."""
        await child.wait()
        if self._child is child:
            self._child = None
            self._stop_idling()
            self._begin(self._recover(child))

    async def _recover(self, crashed: ChildProcess) -> str:
        if asyncio.get_running_loop().time() - crashed.started >= self._pace.settled:
            self._failures = 0
        self._count_failure(f"The embedded model crashed: {await crashed.last_words()}")
        if self._failures > self._pace.tries:
            self._failed = True
            return self._problem
        return await self._bring_up(restart=True)

    def _count_failure(self, problem: str) -> None:
        self._problem = problem
        self._failures += 1
        wait = self._pace.first_wait * 2.0 ** min(self._failures - 1, 30)
        loop = asyncio.get_running_loop()
        self._next_try = loop.time() + min(wait, self._pace.longest_wait)

    def _released(self, child: ChildProcess) -> None:
        child.leases -= 1
        if child is self._child and child.leases == 0 and not self._closed:
            self._start_idling()

    def _start_idling(self) -> None:
        self._stop_idling()
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(self._settings.idle_seconds, self._retire)

    def _stop_idling(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _retire(self) -> None:
        """Let the child go; it ends in the background."""
        child, self._child = self._child, None
        self._stop_idling()
        if child is not None:
            self._keep(child.stop(self._pace.grace))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
