"""Answer what was asked in Ollama's words by a model or a workspace that speaks others."""

from typing import Protocol

from portal.shared.contract import Stream
from portal.shared.models import Target
from portal.shared.ollama_answer import Answer, TurnEvents, Work, gather, streamed
from portal.shared.ollama_request import Asked
from portal.shared.ports import HasCall, HasGateway, HasTurns


class Needs(HasCall, HasGateway, HasTurns, Protocol):
    """Raw models and turns."""


async def answer(
    context: Needs, target: Target, asked: Asked, model: str, work: Work, *, stream: bool
) -> Answer | Stream:
    """Ask a raw model of another dialect, or run a turn; `model` is named as it was asked for."""
    call = context.call
    call.dropped = asked.dropped
    events: TurnEvents
    if target.workspace is None:
        events = context.gateway.generate(call, target, asked.for_model(target))
    else:
        turn = asked.for_turn(target.workspace.id, call.caller.user, whole=not stream)
        events = context.turns.run(call, turn)
    return streamed(events, model, work) if stream else await gather(events, model, work)
