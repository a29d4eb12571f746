"""`@model:<name>`, typed at the start or the end of a message, names the model for it. Pure."""

import re
from collections.abc import Callable, Sequence

import msgspec

from portal.shared.messages import Message, Part, TextPart

# Only at the very edges: in between it is text that somebody quotes or pastes.
_AT_START = re.compile(r"\s*@model:(\S{1,200})(?:\s+|$)")
_AT_END = re.compile(r"(?:^|\s)@model:(\S{1,200})\s*$")
_EDGE = 400
"""Characters at either end that are looked at."""


def split_typed(text: str) -> tuple[str, str | None]:
    """Take `@model:<name>` off a text: what is left, and the name; None when there is none."""
    found = _AT_START.match(text[:_EDGE])
    if found:
        return text[found.end() :], found[1]
    start = max(0, len(text) - _EDGE)
    found = _AT_END.search(text[start:])
    if found:
        return text[: start + found.start()].rstrip(), found[1]
    return text, None


def read_override(
    messages: Sequence[Message], known: Callable[[str], bool]
) -> tuple[tuple[Message, ...], str | None]:
    """Strip what names a model from the user's messages; give the name in the last of them.

    Earlier messages, which clients send again with every turn, lose it only where the name is
    known; in the last one it is the caller's business to refuse an unknown name.
    """
    if not any("@model:" in message.text for message in messages if message.role == "user"):
        return tuple(messages), None
    last = max(index for index, message in enumerate(messages) if message.role == "user")
    override: str | None = None
    stripped = []
    for index, message in enumerate(messages):
        if message.role == "user":
            changed, name = _split_message(message)
            if name is not None and (index == last or known(name)):
                message = changed
                override = name if index == last else override
        stripped.append(message)
    return tuple(stripped), override


def _split_message(message: Message) -> tuple[Message, str | None]:
    if isinstance(message.content, str):
        text, name = split_typed(message.content)
        return msgspec.structs.replace(message, content=text), name
    parts: list[Part] = list(message.content)
    texts = [index for index, part in enumerate(parts) if isinstance(part, TextPart)]
    for index in dict.fromkeys((texts[0], texts[-1])) if texts else ():
        part = parts[index]
        assert isinstance(part, TextPart)
        text, name = split_typed(part.text)
        if name is not None:
            parts[index : index + 1] = [TextPart(text)] if text else []
            return msgspec.structs.replace(message, content=tuple(parts)), name
    return message, None
