"""What can be done with a backend's models beside asking them, whatever server stands behind it.

Operations change what the server has; nothing is remembered of that here before the next
`discover`. Which model is meant is the server's own name for it.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

import msgspec

from portal.runtime.backends.limits import Limits
from portal.shared.errors import (
    BackendBroken,
    BackendRefused,
    ContextLengthExceeded,
    UnsupportedField,
)
from portal.shared.model_operations import Embeddings, PullProgress
from portal.shared.models import Model

EMBEDDED_AT_ONCE = 128
"""Most texts in one request for vectors, so that no answer is too long to be read."""
COUNT_SECONDS = 5.0
"""Longest wait for a count of tokens: it only makes an estimate better."""


class ModelOperations(Protocol):
    """Operations on the models of one backend.

    All raise BackendError when the server fails or refuses, and UnsupportedField, which says
    what helps instead, where this kind of server cannot do it.
    """

    def pull(self, model: str) -> AsyncGenerator[PullProgress, None]:
        """Download a model. Raises BackendTimeout when it stands still, BackendRefused when the
        server reports a failure in mid-download. Closing it ends the download."""
        ...

    async def remove(self, model: str) -> None:
        """Delete a model from the server's disk."""
        ...

    async def load(self, model: str, *, num_ctx: int | None = None) -> None:
        """Take a model into memory and wait until it is there; one that is there stays as it is.

        `num_ctx`: tokens of context to serve it with, where the server can be told.
        """
        ...

    async def unload(self, model: str) -> None:
        """Free the memory that a model takes; answers under way are completed first."""
        ...

    async def embed(
        self, model: str, texts: Sequence[str], dimensions: int | None = None
    ) -> Embeddings:
        """Turn texts into vectors. Raises ContextLengthExceeded where one is too long."""
        ...

    async def count_tokens(self, model: str, text: str) -> int | None:
        """Count a text's tokens by the model's own tokenizer; None where the server cannot tell.

        Takes at most `COUNT_SECONDS`, and raises nothing but ShuttingDown.
        """
        ...

    async def loaded(self) -> frozenset[str] | None:
        """Ask which models lie in the server's memory now; None where it does not tell."""
        ...


class ServerModels(ModelOperations, Protocol):
    """The models of one server, and what was found out about it so far."""

    async def discover(self, limits: Limits) -> tuple[Model, ...]:
        """Ask what it has and all that it tells of each. Raises BackendError when it is dead."""
        ...

    def forget(self) -> None:
        """Forget which calls it does not have: it may have been exchanged or brought up to date."""
        ...


def within(limits: Limits, seconds: float) -> Limits:
    """Shorten limits, so that a call that is not worth waiting for ends soon."""
    patience = min(seconds, limits.first_byte)
    return msgspec.structs.replace(limits, first_byte=patience, stall=patience, total=patience)


def cannot(backend: str, verb: str, instead: str) -> UnsupportedField:
    """Make the refusal of an operation that this kind of server does not have."""
    said = f"The backend {backend!r} cannot {verb} models. {instead}"
    return UnsupportedField(said, param="model")


async def failing(error: UnsupportedField) -> AsyncGenerator[PullProgress, None]:
    """Be a download that fails at once, where the others fail: when it is read."""
    steps: tuple[PullProgress, ...] = ()
    for step in steps:
        yield step
    raise error


def too_long(
    error: BackendRefused, *, param: str = "input"
) -> ContextLengthExceeded | BackendRefused:
    """Make another error of a refusal for a text's length; any other stays what it is."""
    said = error.message.lower()
    if error.status in (400, 413, 500) and (
        "context length" in said or "context size" in said or "too large to process" in said
    ):
        return ContextLengthExceeded(error.message, param=param)
    return error


def check_vectors(vectors: Sequence[Sequence[float]], texts: int, backend: str) -> None:
    """Raise BackendBroken unless there is a vector for each text, all of one length."""
    lengths = {len(vector) for vector in vectors}
    if len(vectors) != texts or len(lengths) != 1 or 0 in lengths:
        raise BackendBroken(
            f"The backend {backend!r} gave {len(vectors)} vectors of {sorted(lengths)} numbers for "
            f"{texts} texts.",
            backend=backend,
        )
