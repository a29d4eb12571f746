"""Read the personas anew when their files have changed, and keep those before when they are bad."""

import asyncio
import logging
from pathlib import Path

from portal.runtime.routing.personas import load_personas
from portal.runtime.routing.registry import Registry
from portal.shared.errors import ConfigurationError

log = logging.getLogger("portal.personas")

Seen = tuple[tuple[str, int, int], ...]


class PersonaWatch:
    """Looks at one folder every `interval` seconds, from `start` to `stop`."""

    def __init__(self, folder: Path, registry: Registry, *, interval: float) -> None:
        self._folder = folder
        self._registry = registry
        self._interval = interval
        self._seen = seen(folder)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._watch(), name="personas")

    async def stop(self) -> None:
        """End the loop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            now = await asyncio.to_thread(seen, self._folder)
            if now == self._seen:
                continue
            self._seen = now
            try:
                personas = await asyncio.to_thread(load_personas, self._folder)
                self._registry.set_personas(personas)
            except ConfigurationError as error:
                log.warning("the personas stay as they were: %s", error.message)
            else:
                log.info("read %d personas", len(personas))


def seen(folder: Path) -> Seen:
    """Tell files apart by name, size and time of their last change."""
    found = []
    try:
        for path in folder.iterdir():
            if path.suffix in (".yaml", ".yml"):
                facts = path.stat()
                found.append((path.name, facts.st_size, facts.st_mtime_ns))
    except OSError:
        # Gone, or between two steps of an editor: the next look sees what has become of it.
        return tuple(sorted(found))
    return tuple(sorted(found))
