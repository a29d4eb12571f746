"""What an answer says, read from its bytes: the text, how it ended, the error. Pure."""

import json
from typing import Any

import msgspec

ERROR_FIELDS = {"message", "type", "param", "code"}


class Read(msgspec.Struct):
    """The content of an answer."""

    text: str = ""
    finished: bool = False
    """Whether it said why it ended, or `[DONE]`, or is a whole JSON answer."""
    error: dict[str, Any] | None = None
    odd: bool = False
    """Whether something in it could not be read."""
    after_error: bool = False
    """Whether anything but `[DONE]` came after an error."""


def read(body: bytes, content_type: str) -> Read:
    """Read an answer of OpenAI's chat API, or of Ollama's; streamed or whole."""
    found = Read()
    if content_type.startswith("text/event-stream"):
        for line in body.replace(b"\r\n", b"\n").split(b"\n"):
            if line.startswith(b"data:"):
                _take(found, line[5:].strip())
            elif line.strip() and not line.startswith(b":"):
                found.odd = True
    elif content_type.startswith("application/x-ndjson"):
        for line in body.splitlines():
            if line.strip():
                _take(found, line)
    else:
        _take(found, body)
    return found


def _take(found: Read, data: bytes) -> None:
    if data == b"[DONE]":
        found.finished = True
        return
    if found.error is not None:
        found.after_error = True
    try:
        value = json.loads(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        found.odd = True
        return
    error = value.get("error")
    if error is not None:
        found.error = error if isinstance(error, dict) else {"message": error}
        return
    message = value.get("message")
    if isinstance(message, dict):
        found.text += message.get("content") or ""
    found.finished = found.finished or bool(value.get("done"))
    for choice in value.get("choices") or ():
        said = choice.get("delta") or choice.get("message") or {}
        found.text += said.get("content") or ""
        found.finished = found.finished or bool(choice.get("finish_reason"))


def is_documented(error: dict[str, Any] | None, types: dict[str, str]) -> bool:
    """Tell whether an error has OpenAI's shape and one of the codes of docs/errors.md.

    `types`: the type of each code.
    """
    if error is None or set(error) != ERROR_FIELDS or not error["message"]:
        return False
    code = error["code"]
    # A refusal's type follows the status that it keeps of its backend's.
    kept = code == "backend_refused" and error["type"] in set(types.values())
    return code in types and (kept or types[code] == error["type"])
