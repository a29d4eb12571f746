"""What the owner does with models: fetch, remove, load, unload; and with their breakers."""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable

from portal.runtime.admission.breakers import Breakers
from portal.runtime.backends.backend import Backend
from portal.runtime.routing.registry import Registry
from portal.shared.errors import InvalidRequest, NotFound, UnknownModel
from portal.shared.model_operations import PullProgress


class Administration:
    """Implements the ModelAdmin port.

    `changed` looks at a backend anew after each change, `known` waits for the first look at all.
    """

    def __init__(
        self,
        registry: Registry,
        breakers: Breakers,
        changed: Callable[[str], Awaitable[None]],
        known: Callable[[], Awaitable[None]],
    ) -> None:
        self._registry = registry
        self._breakers = breakers
        self._changed = changed
        self._known = known

    async def pull(self, name: str) -> AsyncGenerator[PullProgress, None]:
        await self._known()
        backend, model = self._place(name)
        try:
            # Closed here and now, not whenever the collector comes by: that ends the download.
            async with contextlib.aclosing(backend.pull(model)) as steps:
                async for step in steps:
                    yield step
        finally:
            await self._changed(backend.name)

    async def remove(self, name: str) -> None:
        backend, model = await self._named(name)
        await backend.remove(model)
        await self._changed(backend.name)

    async def load(self, name: str) -> None:
        backend, model = await self._named(name)
        await backend.load(model, num_ctx=self._registry.num_ctx(backend.name, model))
        await self._changed(backend.name)

    async def unload(self, name: str) -> None:
        backend, model = await self._named(name)
        await backend.unload(model)
        await self._changed(backend.name)

    def reset_breakers(self, backend: str | None = None, model: str | None = None) -> int:
        if backend is not None and backend not in self._registry.backends:
            known = ", ".join(self._registry.backends)
            raise NotFound(f"There is no backend {backend[:100]!r}; there are {known}.")
        return self._breakers.reset(backend, model)

    async def _named(self, name: str) -> tuple[Backend, str]:
        """Find a model that is there."""
        await self._known()
        target = self._registry.resolve(name)
        if target.workspace is not None:
            raise InvalidRequest(f"{name!r} is a workspace, no model.", param="model")
        return self._registry.backends[target.backend], target.model

    def _place(self, name: str) -> tuple[Backend, str]:
        """Find where a model is to be fetched to, which need not be there yet."""
        backends = self._registry.backends
        first, slash, rest = name.partition("/")
        if slash and rest and first in backends:
            return backends[first], rest
        able = [each for each in backends.values() if each.kind == "ollama" and each.available]
        if len(able) == 1:
            return able[0], name
        if not able:
            raise UnknownModel(
                "No Ollama is live here, and other servers fetch models in their own ways; "
                "write <backend>/<model> to name one.",
                param="model",
            )
        written = ", ".join(f"{each.name}/{name}" for each in able)
        raise InvalidRequest(
            f"Several backends can fetch it; write one of {written}.", param="model"
        )
