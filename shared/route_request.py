"""A question about a route, as two paths take it: what would answer this, and why?"""

from typing import Any

import msgspec

from portal.shared.errors import InvalidRequest
from portal.shared.messages import ImagePart, Message, TextPart
from portal.shared.openai_request import ChatMessage, read_messages
from portal.shared.turns import ToolSpec, TurnRequest


class RouteQuestion(msgspec.Struct, frozen=True):
    """A chat request, or just its prompt; other fields of one are allowed, and do not matter."""

    model: str = "auto"
    """A workspace, a persona, or any model's id."""
    prompt: str | None = None
    messages: list[ChatMessage] | None = None
    images: list[Any] | None = None
    """Present where the question comes with images."""
    tools: list[Any] | None = None
    """Present where the model is to call tools."""
    tool_choice: Any = None


def read_question(question: RouteQuestion) -> TurnRequest:
    """Make the turn of it. Raises InvalidRequest when there is nothing to answer."""
    messages = list(read_messages(question.messages)) if question.messages else []
    if question.prompt:
        messages.append(Message("user", question.prompt))
    if not messages:
        raise InvalidRequest("Send `prompt`, or `messages` with at least one.", param="messages")
    if question.images:
        messages[-1] = _with_image(messages[-1])
    tools = tuple(ToolSpec(f"tool{number}") for number, _ in enumerate(question.tools or ()))
    choice = question.tool_choice if isinstance(question.tool_choice, str) else None
    return TurnRequest(tuple(messages), question.model, tools=tools, tool_choice=choice)


def _with_image(message: Message) -> Message:
    """Give the message an image, which here only matters by being there."""
    content = message.content if not isinstance(message.content, str) else ()
    text = () if content else (TextPart(message.text),)
    return msgspec.structs.replace(message, content=(*text, *content, ImagePart("data:,")))
