"""POST /portal/compare: ask several models the same, side by side."""

import contextlib
import logging
import time
from typing import Annotated, Protocol

import msgspec

from portal.shared.contract import Route, Scope
from portal.shared.errors import InvalidRequest, PortalError
from portal.shared.messages import Message
from portal.shared.openai_request import ChatMessage, read_messages
from portal.shared.parallel import execute_parallel
from portal.shared.ports import HasCall, HasTurns
from portal.shared.turns import Error, Finish, Reasoning, Sampling, Text, TurnRequest, Usage

ROUTE = Route("POST", "/portal/compare", Scope.CHAT)
log = logging.getLogger("portal.compare")
MOST = 8
"""Models asked at once."""


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question, and who is asked."""

    models: Annotated[list[str], msgspec.Meta(min_length=1, max_length=MOST)]
    """Models and workspaces; each answers for itself."""
    prompt: str | None = None
    messages: list[ChatMessage] | None = None
    """A conversation, in place of the prompt or before it."""
    sampling: Sampling = Sampling()


class Failure(msgspec.Struct, frozen=True):
    """Why a model gave no answer."""

    code: str
    message: str


class Tokens(msgspec.Struct, frozen=True):
    """What an answer took; `estimated` where the backend did not count."""

    input_tokens: int
    output_tokens: int
    estimated: bool


class Answered(msgspec.Struct, frozen=True, omit_defaults=True):
    """One model's answer, or why there is none."""

    model: str
    """As it was asked for."""
    text: str = ""
    reasoning: str = ""
    answered_by: str = ""
    """`<backend>/<model>`."""
    seconds: float = 0.0
    first_token_seconds: float | None = None
    usage: Tokens | None = None
    error: Failure | None = None
    """What was said before it broke, if anything, is in `text`."""


class Comparison(msgspec.Struct, frozen=True):
    """The answers, in the order of the models."""

    data: list[Answered]
    next_cursor: str | None = None


class Needs(HasCall, HasTurns, Protocol):
    """Turns."""


async def handle(request: Request, context: Needs) -> Comparison:
    messages = read_messages(request.messages) if request.messages else ()
    if request.prompt:
        messages = (*messages, Message("user", request.prompt))
    if not messages:
        raise InvalidRequest("Send `prompt`, or `messages` with at least one.", param="prompt")
    # What they wait for in parallel is one wait of this call.
    context.call.begin_wait()
    try:
        found = await execute_parallel(
            [_ask(context, model, messages, request.sampling) for model in request.models]
        )
    finally:
        context.call.end_wait()
    return Comparison(
        [_answered(model, each) for model, each in zip(request.models, found, strict=True)]
    )


async def _ask(
    context: Needs, model: str, messages: tuple[Message, ...], sampling: Sampling
) -> Answered:
    started = time.perf_counter()
    first: float | None = None
    text: list[str] = []
    reasoning: list[str] = []
    usage: Tokens | None = None
    by, error = "", None
    request = TurnRequest(messages, model, context.call.caller.user, sampling)
    # Each answer notes its own route and its own waits.
    call = msgspec.structs.replace(context.call)
    async with contextlib.aclosing(context.turns.run(call, request)) as events:
        async for event in events:
            match event:
                case Text(piece) | Reasoning(piece):
                    first = first if first is not None else time.perf_counter() - started
                    (text if isinstance(event, Text) else reasoning).append(piece)
                case Usage(given, made, estimated):
                    usage = Tokens(given, made, estimated)
                case Finish(_, backend, name):
                    by = f"{backend}/{name}"
                case Error(code, message):
                    error = Failure(code, message)
    seconds = time.perf_counter() - started
    return Answered(model, "".join(text), "".join(reasoning), by, seconds, first, usage, error)


def _answered(model: str, found: Answered | Exception) -> Answered:
    match found:
        case Answered():
            return found
        case PortalError(code=code, message=message):
            return Answered(model, error=Failure(code, message))
    # One that fails unheard of must not take the others' answers with it.
    log.error("comparing %s failed", model, exc_info=found)
    return Answered(model, error=Failure(PortalError.code, "Portal failed on this; see its log."))
