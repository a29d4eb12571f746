"""Portal's own embedding model, for machines whose backends have none: the extra `knowledge`.

Static word vectors of 16 MB, good enough to find a paragraph, loaded when first used.
"""

import asyncio
import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from portal.shared.errors import InvalidRequest
from portal.shared.model_operations import Embeddings

LIBRARY = "wordllama"
NAME = "wordllama-256"
LENGTH = 256


class OwnEmbeddings:
    """Makes vectors in a worker thread; the library is imported with the first text."""

    name = NAME

    def __init__(self) -> None:
        self._one_at_a_time = asyncio.Lock()

    @property
    def available(self) -> bool:
        """Whether the extra is installed."""
        return _home() is not None

    async def embed(self, texts: Sequence[str], dimensions: int | None) -> Embeddings:
        """Embed. Raises InvalidRequest for another length, or without the extra."""
        if dimensions not in (None, LENGTH):
            raise InvalidRequest(
                f"{NAME} makes vectors of {LENGTH} numbers, not {dimensions}.", param="dimensions"
            )
        if not self.available:
            raise InvalidRequest(
                f"{NAME} is not installed: pip install 'portal-local[knowledge]'", param="model"
            )
        async with self._one_at_a_time:
            return Embeddings(await asyncio.to_thread(_vectors, list(texts)))


@functools.cache
def _home() -> Path | None:
    """Find the library's folder, which has the weights in it, without importing it."""
    spec = importlib.util.find_spec(LIBRARY)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


@functools.cache
def _model() -> Any:
    from wordllama import WordLlama

    # Its own folder, so that nothing is ever fetched from a network.
    return WordLlama.load(cache_dir=_home(), disable_download=True)


def _vectors(texts: list[str]) -> list[list[float]]:
    found: list[list[float]] = _model().embed(texts, norm=True).tolist()
    return found
