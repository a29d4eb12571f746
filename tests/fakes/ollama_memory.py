"""The fake Ollama's memory: which models are loaded, who uses them, how often each was loaded.

Like the real scheduler it admits requests in the order they came: one whose model has no room
waits until a loaded one is idle, evicts the least recently used, and those behind it wait too.
"""

import asyncio
from collections import Counter
from typing import Any

import msgspec


class Loaded(msgspec.Struct):
    """A model in memory."""

    context: int
    """Its num_ctx; with another one it is loaded anew."""
    users: int = 0
    """Answers that it works on."""
    leaving: bool = False
    """It is unloaded as soon as it is idle."""


class Memory:
    """Room for some models at once, without end by default."""

    def __init__(self) -> None:
        self.loaded: dict[str, Loaded] = {}
        """By name; the least recently used first."""
        self.fresh = False
        """Whether the request admitted last had to load its model."""
        self._loads: Counter[str] = Counter()
        self._order: list[list[Any]] = []
        self._room: int | None = None
        self._load_seconds = 0.0
        self._line = asyncio.Lock()
        self._idle = asyncio.Event()

    def limit(self, room: int | None, load_ms: float) -> None:
        """Set how many models fit, and how long loading one takes."""
        self._room = room
        self._load_seconds = load_ms / 1000

    def clear(self) -> None:
        """Unload everything at once."""
        self.loaded.clear()
        self._signal()

    def forget(self) -> None:
        """Go back to the start: nothing loaded, nothing counted."""
        self.clear()
        self.limit(None, 0)
        self._loads.clear()
        self._order.clear()

    def state(self) -> dict[str, Any]:
        """Tell loads per model, all loads in their order as [name, num_ctx], and what is loaded."""
        return {
            "loads": dict(self._loads),
            "order": self._order,
            "loaded": {name: loaded.context for name, loaded in self.loaded.items()},
        }

    async def admit(self, name: str, context: int) -> Loaded:
        """Wait until the model is loaded with this context, and count one more user of it."""
        async with self._line:
            loaded = self.loaded.get(name)
            self.fresh = loaded is None or loaded.context != context
            if loaded is None or loaded.context != context:
                while not self._made_room(name):
                    self._idle.clear()
                    await self._idle.wait()
                await asyncio.sleep(self._load_seconds)
                self._loads[name] += 1
                self._order.append([name, context])
                loaded = Loaded(context)
                self.fresh = True
            self.loaded.pop(name, None)
            self.loaded[name] = loaded
            loaded.leaving = False
            loaded.users += 1
            return loaded

    def leave(self, name: str, loaded: Loaded) -> None:
        """Take back a user."""
        loaded.users -= 1
        if loaded.users == 0:
            if loaded.leaving and self.loaded.get(name) is loaded:
                del self.loaded[name]
            self._signal()

    def unload(self, name: str) -> None:
        """Free a model's memory, once its answers are complete."""
        loaded = self.loaded.get(name)
        if loaded is not None:
            loaded.leaving = True
            if loaded.users == 0:
                del self.loaded[name]
                self._signal()

    def _made_room(self, name: str) -> bool:
        """Evict what has to go; False while all of that is in use."""
        if name in self.loaded:
            if self.loaded[name].users:
                return False
            del self.loaded[name]
        while self._room is not None and len(self.loaded) >= max(1, self._room):
            idle = next((key for key, each in self.loaded.items() if not each.users), None)
            if idle is None:
                return False
            del self.loaded[idle]
        return True

    def _signal(self) -> None:
        self._idle.set()
