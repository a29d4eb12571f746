"""The conversation as Portal holds it, and the one builder that makes it from any API's parts."""

from collections.abc import Sequence
from typing import Literal

import msgspec

Role = Literal["system", "user", "assistant", "tool"]


class TextPart(msgspec.Struct, frozen=True, tag="text", tag_field="type"):
    """Text within a message of several parts."""

    text: str


class ImagePart(msgspec.Struct, frozen=True, tag="image", tag_field="type"):
    """An image by `data:` URL or web address, as the client sent it."""

    url: str
    detail: str = ""
    """How closely to look, where a backend can choose: low, high or auto."""


Part = TextPart | ImagePart


class ToolCallPart(msgspec.Struct, frozen=True):
    """A call that an assistant made earlier in the conversation; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message; `content` is text, or parts where the text alone would lose something."""

    role: Role
    content: str | tuple[Part, ...] = ""
    tool_calls: tuple[ToolCallPart, ...] = ()
    tool_call_id: str = ""
    name: str = ""

    @property
    def text(self) -> str:
        """The text of the message, its parts joined by line ends."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content if isinstance(part, TextPart))


def build_messages(
    prompt: str | None = None,
    system_prompt: str | None = None,
    messages: Sequence[Message] = (),
) -> list[Message]:
    """Join a system prompt, a history and a new prompt into the messages that a backend is sent.

    `system_prompt` comes first, joined with the history's own leading system messages, since
    many chat templates allow only one; later system messages keep their place. `prompt` becomes
    the last user message. Empty texts add nothing. Every backend, streamed or not, is fed by this.
    """
    history = list(messages)
    leading = [system_prompt] if system_prompt else []
    while history and history[0].role == "system":
        head = history.pop(0)
        if head.text:
            leading.append(head.text)
    built = [Message("system", "\n\n".join(leading))] if leading else []
    built.extend(history)
    if prompt:
        built.append(Message("user", prompt))
    return built
