"""POST /portal/turns: answer one turn, as the events of the turn itself."""

from typing import Annotated, Literal, Protocol

import msgspec

from portal.shared.contract import Route, Scope, Stream
from portal.shared.messages import Message
from portal.shared.ports import HasCall, HasTurns
from portal.shared.turn_stream import stream_turn
from portal.shared.turns import Sampling, TurnRequest

ROUTE = Route("POST", "/portal/turns", Scope.CHAT)


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
    return stream_turn(context.turns.run(context.call, turn))
