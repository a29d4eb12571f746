"""POST /v1/embeddings: turn texts into vectors on a local model."""

import base64
import struct
from typing import Annotated, Literal, Protocol

import msgspec

from portal.shared.contract import Route, Scope
from portal.shared.errors import InvalidRequest
from portal.shared.ports import HasCall, HasModels

ROUTE = Route("POST", "/v1/embeddings", Scope.CHAT)
MOST = 2048
"""Texts in one request, as OpenAI has it."""


class Request(msgspec.Struct, frozen=True):
    """OpenAI's request; token arrays are refused, since each model has tokens of its own."""

    model: str
    """An embedding model, or `auto` for the best that there is."""
    input: str | list[str]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, msgspec.Meta(ge=1)] | None = None
    user: str | None = None


class Vector(msgspec.Struct):
    """One text's vector; base64 is of little-endian 32-bit floats."""

    index: int
    embedding: list[float] | str
    object: Literal["embedding"] = "embedding"


class TokensUsed(msgspec.Struct):
    """Tokens of all texts."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(msgspec.Struct):
    """The vectors, in the order of the texts."""

    data: list[Vector]
    model: str
    usage: TokensUsed
    object: Literal["list"] = "list"


class Needs(HasCall, HasModels, Protocol):
    """Models."""


async def handle(request: Request, context: Needs) -> EmbeddingList:
    texts = [request.input] if isinstance(request.input, str) else request.input
    if not texts or not all(texts):
        found = "empty" if not texts else "a list with an empty text"
        raise InvalidRequest(f"`input` is {found}; send texts that say something.", param="input")
    if len(texts) > MOST:
        raise InvalidRequest(
            f"`input` has {len(texts)} texts; at most {MOST} go into one request.", param="input"
        )
    name = None if request.model == "auto" else request.model
    made = await context.models.embed(context.call, name, texts, dimensions=request.dimensions)
    vectors: list[list[float]] = made.embeddings.vectors
    encoded: list[list[float] | str] = [*vectors]
    if request.encoding_format == "base64":
        encoded = [_packed(vector) for vector in vectors]
    tokens = made.embeddings.input_tokens or 0
    return EmbeddingList(
        [Vector(index, vector) for index, vector in enumerate(encoded)],
        f"{made.backend}/{made.model}",
        TokensUsed(tokens, tokens),
    )


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
