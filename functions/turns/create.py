"""POST /portal/turns: answer one turn, as the events of the turn itself."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Literal, Protocol

import msgspec

from portal.shared.contract import Route, Scope, Stream
from portal.shared.errors import PortalError
from portal.shared.messages import Message
from portal.shared.ports import HasCall, HasTurns
from portal.shared.turns import Error, Sampling, TurnEvent, TurnRequest

ROUTE = Route("POST", "/portal/turns", Scope.CHAT)

_encode = msgspec.json.Encoder().encode


class Said(msgspec.Struct, frozen=True):
    """A message of the conversation so far."""

    role: Literal["system", "user", "assistant"]
    content: str


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The conversation, ending with what the person just said."""

    messages: Annotated[list[Said], msgspec.Meta(min_length=1)]
    workspace: str = "auto"
    """A workspace, or any model's id."""
    sampling: Sampling = Sampling()
    channel: Literal["api", "web", "cli"] = "api"
    """Where the answer is shown; a persona may speak otherwise there."""


class Needs(HasCall, HasTurns, Protocol):
    """Turns."""


async def handle(request: Request, context: Needs) -> Stream:
    turn = TurnRequest(
        tuple(Message(said.role, said.content) for said in request.messages),
        request.workspace,
        context.call.caller.user,
        request.sampling,
        channel=request.channel,
    )
    return Stream(_encoded(context.turns.run(context.call, turn)), on_error=_told)


def _told(error: Exception) -> bytes:
    """End the stream with an event of the turn's own kind; its line ends close one cut in half."""
    if isinstance(error, PortalError):
        event = Error(error.code, error.message)
    else:
        event = Error(PortalError.code, "Portal failed on this turn; the log has the details.")
    return b"\n\ndata: " + _encode(event) + b"\n\n"


async def _encoded(events: AsyncGenerator[TurnEvent, None]) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(events):
        async for event in events:
            yield b"data: " + _encode(event) + b"\n\n"
    yield b"data: [DONE]\n\n"
