"""The models as functions see them: names from the registry, and vectors of texts."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from portal.runtime.admission.passage import Passages
from portal.runtime.routing.registry import Registry
from portal.shared.contract import Call
from portal.shared.errors import BackendError, InvalidRequest, NoCapableModel, UnknownModel
from portal.shared.model_operations import Embeddings, Vectors
from portal.shared.models import Model, Target, Workspace

OWN = "portal"
"""What stands for a backend where Portal makes the vectors itself."""


class OwnEmbedder(Protocol):
    """Portal's own small embedding model."""

    name: str

    @property
    def available(self) -> bool:
        """Whether its library is installed."""
        ...

    async def embed(self, texts: Sequence[str], dimensions: int | None) -> Embeddings: ...


class Directory:
    """Implements the Models port. `known` waits for the first look at all backends."""

    def __init__(
        self,
        registry: Registry,
        passages: Passages,
        own: OwnEmbedder,
        known: Callable[[], Awaitable[None]],
    ) -> None:
        self.registry = registry
        self._passages = passages
        self._own = own
        self._known = known

    def models(self) -> Sequence[Model]:
        return self.registry.models()

    def workspaces(self) -> Sequence[Workspace]:
        return self.registry.workspaces()

    def resolve(self, name: str) -> Target:
        return self.registry.resolve(name)

    async def locate(self, name: str) -> Target:
        try:
            return self.registry.resolve(name)
        except UnknownModel:
            await self._known()
            return self.registry.resolve(name)

    async def embed(
        self,
        call: Call,
        name: str | None,
        texts: Sequence[str],
        *,
        dimensions: int | None = None,
        background: bool = False,
    ) -> Vectors:
        if name == f"{OWN}/{self._own.name}":
            return await self._embed_here(call, texts, dimensions)
        await self._known()
        if name is None:
            return await self._embed_anywhere(call, texts, dimensions, background=background)
        target = self.registry.resolve(name)
        if target.workspace is not None:
            raise InvalidRequest(
                f"{name!r} is a workspace, which chats; name an embedding model, or `auto`.",
                param="model",
            )
        return await self._embed_on(
            call, target.backend, target.model, texts, dimensions, background=background
        )

    async def _embed_anywhere(
        self, call: Call, texts: Sequence[str], dimensions: int | None, *, background: bool
    ) -> Vectors:
        """Let the best that is live do it; another only where nothing says whose vectors count."""
        failure: BackendError | None = None
        for model in self._able():
            try:
                return await self._embed_on(
                    call, model.backend, model.name, texts, dimensions, background=background
                )
            except BackendError as error:
                failure = error
        if self._own.available:
            return await self._embed_here(call, texts, dimensions)
        if failure is not None:
            raise failure
        raise NoCapableModel(
            "No embedding model is live. Pull one (`portal models pull nomic-embed-text` on "
            "Ollama), or install Portal's own: pip install 'portal-local[knowledge]'.",
            param="model",
        )

    def _able(self) -> list[Model]:
        """List the live embedding models, best first."""
        able = [
            model
            for model in self.registry.models()
            if "embedding" in (model.capabilities or ())
            and not model.gone
            and self.registry.backends[model.backend].available
        ]
        return sorted(able, key=lambda model: (-_rank(model), model.id))

    async def _embed_on(
        self,
        call: Call,
        backend: str,
        model: str,
        texts: Sequence[str],
        dimensions: int | None,
        *,
        background: bool,
    ) -> Vectors:
        call.route = f"-;{backend};{model};embeddings"
        passage = await self._passages.enter(call, backend, model, background=background)
        call.begin_wait()
        try:
            found = await self.registry.backends[backend].embed(model, texts, dimensions)
            passage.succeeded()
        except BackendError as error:
            passage.failed(error)
            raise
        finally:
            call.end_wait()
            passage.close()
        return Vectors(backend, model, found)

    async def _embed_here(
        self, call: Call, texts: Sequence[str], dimensions: int | None
    ) -> Vectors:
        call.route = f"-;{OWN};{self._own.name};embeddings"
        return Vectors(OWN, self._own.name, await self._own.embed(texts, dimensions))


def _rank(model: Model) -> int:
    return model.quality.general if model.quality is not None else 0
