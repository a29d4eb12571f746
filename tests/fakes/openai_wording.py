"""How an OpenAI-compatible server words a reply: objects, events, deltas, usage.

Every completion and chunk ends with `VENDOR`, a field that no client knows, oddly spaced and
with a number that no double holds: whoever re-encodes what passes through is found out.
"""

import json
from typing import Any

from tests.fakes.playing import JSON_TYPE, Answer
from tests.fakes.script import Saying, Script, ScriptedCall

VENDOR = b'"x_vendor": {"big": 12345678901234567890, "spacing":  1.0}'
SSE = "text/event-stream; charset=utf-8"


def whole(start: dict[str, Any], choice: dict[str, Any], saying: Saying, script: Script) -> Answer:
    """Put a saying into one object."""
    body = start | {"choices": [choice]}
    if saying.usage:
        body["usage"] = usage_of(saying)
    return Answer(
        content_type=JSON_TYPE,
        pieces=(b"",) * saying.output_tokens,
        garbage=b'{"id": "chatcmpl-1", "choices": [{"index": 0, "mess',
        error=error_body(script),
        whole=branded(body),
    )


def streamed(
    start: dict[str, Any],
    opening: list[Any],
    choices: list[Any],
    last: Any,
    saying: Saying,
    script: Script,
    *,
    with_usage: bool,
) -> Answer:
    """Put a saying into events: opening, a choice a token, the last, usage, `[DONE]`."""
    ending = event(branded(start | {"choices": [last]}))
    if with_usage and saying.usage:
        ending += event(branded(start | {"choices": [], "usage": usage_of(saying)}))
    return Answer(
        content_type=SSE,
        opening=b"".join(event(branded(start | {"choices": [item]})) for item in opening),
        pieces=tuple(event(branded(start | {"choices": [item]})) for item in choices),
        closing=ending + event(b"[DONE]"),
        garbage=b'data: {"id": "\xff\xfe", "choices": [{"index": 0, "del\n\n',
        error=event(error_body(script)) + event(b"[DONE]"),
    )


def branded(body: dict[str, Any]) -> bytes:
    """Encode with the vendor's field at the end."""
    return json.dumps(body, ensure_ascii=False).encode()[:-1] + b", " + VENDOR + b"}"


def event(data: bytes) -> bytes:
    """Frame one server-sent event."""
    return b"data: " + data + b"\n\n"


def error_body(script: Script) -> bytes:
    """Word a failure in mid-answer."""
    error = {"message": script.error, "type": "InternalServerError", "param": None, "code": 500}
    return json.dumps({"error": error}).encode()


def usage_of(saying: Saying) -> dict[str, Any]:
    """Count tokens as OpenAI shows them."""
    return {
        "prompt_tokens": saying.input_tokens,
        "completion_tokens": saying.output_tokens,
        "total_tokens": saying.input_tokens + saying.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def whole_call(call: ScriptedCall) -> dict[str, Any]:
    """Show a tool call at once, its arguments as text."""
    function = {"name": call.name, "arguments": "".join(argument_pieces(call))}
    return {"id": call.id, "type": "function", "function": function}


def call_deltas(index: int, call: ScriptedCall) -> list[dict[str, Any]]:
    """Show a tool call bit by bit: first who, then the arguments in pieces."""
    first = {"index": index, "id": call.id, "type": "function"}
    deltas = [first | {"function": {"name": call.name, "arguments": ""}}]
    deltas += [
        {"index": index, "function": {"arguments": piece}} for piece in argument_pieces(call)
    ]
    return deltas


def argument_pieces(call: ScriptedCall) -> tuple[str, ...]:
    """Cut the arguments' text, in mid-word unless the script says where."""
    if call.pieces is not None:
        return call.pieces
    text = json.dumps(call.arguments, ensure_ascii=False)
    return tuple(text[at : at + 5] for at in range(0, len(text), 5))
