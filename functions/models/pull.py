"""POST /portal/models/pull: let a backend download a model, its progress streamed."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Protocol

import msgspec

from portal.shared.contract import Route, Scope, Stream
from portal.shared.model_operations import PullProgress
from portal.shared.ports import HasModelAdmin

ROUTE = Route("POST", "/portal/models/pull", Scope.ADMIN)
ANSWERS = PullProgress

_encode = msgspec.json.Encoder().encode


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to fetch."""

    model: str
    """`<backend>/<model>`, or the model alone where only one backend can fetch."""


class Needs(HasModelAdmin, Protocol):
    """The models on backends."""


async def handle(request: Request, context: Needs) -> Stream:
    return Stream(_events(context.model_admin.pull(request.model)))


async def _events(steps: AsyncGenerator[PullProgress, None]) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(steps):
        async for step in steps:
            yield b"data: " + _encode(step) + b"\n\n"
    yield b"data: [DONE]\n\n"
