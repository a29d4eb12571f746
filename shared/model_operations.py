"""What operations on a backend's models give back: a download's progress, vectors of texts."""

import msgspec


class PullProgress(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a download is; `completed` and `total` are bytes of the part named by `digest`."""

    status: str
    """The server's own words; the last is `success`."""
    digest: str = ""
    """The part that is being fetched; empty between parts."""
    completed: int | None = None
    total: int | None = None


class Embeddings(msgspec.Struct, frozen=True):
    """Vectors, one for each text and in their order; all are of the same length."""

    vectors: list[list[float]]
    input_tokens: int | None = None
    """Tokens of all texts together, where the server counts them."""


class Vectors(msgspec.Struct, frozen=True):
    """The vectors of some texts, and who made them."""

    backend: str
    """`portal` where no backend did."""
    model: str
    embeddings: Embeddings
