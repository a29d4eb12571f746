"""POST /portal/conversations/{id}/messages: store a message and, if asked to, answer it."""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Sequence
from typing import Annotated, Protocol

import msgspec

from portal.shared.contract import Path, Route, Scope, Stream
from portal.shared.conversations import NewMessage, Speaker, StoredMessage, to_history
from portal.shared.errors import BackendBroken, InvalidRequest, StateUnavailable
from portal.shared.ids import new_id
from portal.shared.ports import HasCall, HasTurns
from portal.shared.state_ports import HasConversations
from portal.shared.turn_stream import stream_turn
from portal.shared.turns import Error, Finish, Notice, Sampling, Text, TurnEvent, TurnRequest

ROUTE = Route("POST", "/portal/conversations/{id}/messages", Scope.CHAT)

UUID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$(?!\n)"


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The message, and what shall become of it."""

    id: Path[str]
    role: Speaker
    content: str
    message_id: Annotated[str, msgspec.Meta(pattern=UUID)] | None = None
    """A UUID of the client's choice: sent again, the message is stored and answered only once."""
    reply: bool = False
    """Answer it, with all of the conversation before it."""
    stream: bool = False
    """Send the answer as it is made, as the events of POST /portal/turns."""
    workspace: str = "auto"
    """Who answers: a workspace, or any model's id."""
    sampling: Sampling = Sampling()


class Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    """The message as it is kept, and the answer where one was asked for."""

    message: StoredMessage
    reply: StoredMessage | None = None


ANSWERS = Stored


class Needs(HasCall, HasConversations, HasTurns, Protocol):
    """Whose, the conversations, and turns."""


async def handle(request: Request, context: Needs) -> Stored | Stream:
    if request.reply and request.role != "user":
        raise InvalidRequest(
            f"`role` is {request.role}; only a message of a user can be answered.", param="role"
        )
    if request.reply and not request.content.strip():
        raise InvalidRequest("`content` is empty; there is nothing to answer.", param="content")
    if request.stream and not request.reply:
        raise InvalidRequest("`stream` needs `reply`: there is no answer to send.", param="stream")
    user, kept = context.call.caller.user, context.conversations
    said = NewMessage(request.role, request.content, request.message_id)
    (message,) = await kept.add(user, request.id, [said])
    if not request.reply:
        return Stored(message)
    history = await kept.history(user, request.id)
    given = find_answer(history, message)
    if given is not None:
        return stream_turn(_repeated(given)) if request.stream else Stored(message, given)
    place = [each.id for each in history].index(message.id)
    turn = TurnRequest(
        to_history(history[: place + 1]),
        request.workspace,
        user,
        request.sampling,
        whole=not request.stream,
    )
    answer = new_id()
    events = _recorded(context, request.id, answer, context.turns.run(context.call, turn))
    if request.stream:
        return stream_turn(events)
    await _await_end(events)
    history = await kept.history(user, request.id)
    return Stored(message, next((each for each in history if each.id == answer), None))


def find_answer(history: Sequence[StoredMessage], message: StoredMessage) -> StoredMessage | None:
    """Find the whole answer that a message has already; pure."""
    following = iter(history)
    for each in following:
        if each.id == message.id:
            found = next(following, None)
            answered = found is not None and found.role == "assistant" and not found.incomplete
            return found if answered else None
    return None


async def _recorded(
    context: Needs, conversation: str, id_: str, events: AsyncGenerator[TurnEvent, None]
) -> AsyncGenerator[TurnEvent, None]:
    """Pass a turn's events on and store its answer: whole before its end is told, or what came."""
    user, kept = context.call.caller.user, context.conversations
    text: list[str] = []
    done = False
    try:
        async with contextlib.aclosing(events):
            async for event in events:
                match event:
                    case Text(piece):
                        text.append(piece)
                    case Finish(_, backend, model):
                        answer = _answer(id_, text, f"{backend}/{model}")
                        notice = await _store(kept.add(user, conversation, [answer]), answer)
                        done = True
                        yield notice
                    case Error():
                        answer = _answer(id_, text, incomplete=True)
                        if answer.content:
                            yield await _store(kept.add(user, conversation, [answer]), answer)
                        done = True
                yield event
    finally:
        # The client left, or the process ends: nothing can be awaited here any more. The id makes
        # sure that an answer whose storing was under way is not stored twice.
        answer = _answer(id_, text, incomplete=True)
        if not done and answer.content:
            kept.keep(user, conversation, answer)


async def _store(adding: Awaitable[Sequence[StoredMessage]], answer: NewMessage) -> Notice:
    try:
        await adding
    except StateUnavailable as error:
        return Notice("not_stored", error.message)
    return Notice("stored", answer.id or "")


def _answer(id_: str, text: list[str], model: str = "", *, incomplete: bool = False) -> NewMessage:
    return NewMessage("assistant", "".join(text), id_, None, model, incomplete)


async def _repeated(answer: StoredMessage) -> AsyncGenerator[TurnEvent, None]:
    """Give an answer of before as the events of a turn."""
    backend, _, model = answer.model.partition("/")
    yield Text(answer.content)
    yield Notice("stored", answer.id)
    yield Finish("stop", backend, model)


async def _await_end(events: AsyncGenerator[TurnEvent, None]) -> None:
    """Let a turn run to its end. Raises what went wrong in it."""
    async with contextlib.aclosing(events):
        async for event in events:
            if isinstance(event, Error):
                raise BackendBroken(event.message)
            if isinstance(event, Notice) and event.code == "not_stored":
                raise StateUnavailable(event.text)
