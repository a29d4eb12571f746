"""How Ollama words an answer: lines, or one object; the progress of a download; vectors."""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.fakes.ollama_models import OllamaModel
from tests.fakes.ollama_requests import JSON_UTF8, Asked, encode
from tests.fakes.playing import Answer, Reply
from tests.fakes.script import Saying, Script

NDJSON = "application/x-ndjson"


def word(
    asked: Asked,
    saying: Saying,
    pieces: list[Any],
    last: dict[str, Any],
    whole: dict[str, Any],
    loading: int,
    script: Script,
) -> Answer:
    """Put a saying into lines, or into one object."""
    # A finished tool call is an ordinary stop to Ollama.
    reason = "stop" if saying.finish == "tool_calls" else saying.finish
    end: dict[str, Any] = {
        "done": True,
        "done_reason": reason,
        "total_duration": loading + 420_000_000,
        "load_duration": loading,
    }
    if saying.usage:
        end["prompt_eval_count"] = saying.input_tokens
        end["prompt_eval_duration"] = 130_079_000
        end["eval_count"] = saying.output_tokens
        end["eval_duration"] = 259_000_000
    name = asked.model
    streamed = asked.stream is not False
    return Answer(
        content_type=NDJSON if streamed else JSON_UTF8,
        pieces=tuple(encode(stamp(name) | piece | {"done": False}) + b"\n" for piece in pieces),
        closing=encode(stamp(name) | last | end) + b"\n",
        garbage=b'{"model":"\xff\xfe","message":{"content":\n',
        error=encode({"error": script.error}) + b"\n",
        whole=None if streamed else encode(stamp(name) | whole | end),
    )


def word_pull(
    model: OllamaModel, script: Script, finished: Callable[[], None], *, streamed: bool
) -> Answer:
    """Word a download: the lines of the script's `tokens`, or those of a whole one."""
    if script.tokens is not None:
        pieces = tuple(line.encode() for line in script.tokens)
    else:
        digest = f"sha256:{model.digest}"
        part = {"status": f"pulling {model.digest[:12]}", "digest": digest, "total": model.size}
        steps: list[dict[str, Any]] = [{"status": "pulling manifest"}, part]
        steps += [part | {"completed": model.size * quarter // 4} for quarter in (1, 2, 3, 4)]
        steps += [{"status": "verifying sha256 digest"}, {"status": "writing manifest"}]
        pieces = tuple(encode(step) for step in steps)
    end = encode({"status": "success"})
    return Answer(
        content_type=NDJSON if streamed else JSON_UTF8,
        pieces=tuple(piece + b"\n" for piece in pieces),
        closing=end + b"\n",
        garbage=b'{"status":"pulling \xff\n',
        error=encode({"error": script.error}) + b"\n",
        whole=None if streamed else end,
        finished=finished,
    )


def named(name: str, call_arguments: dict[str, Any]) -> dict[str, Any]:
    """Name a function and its arguments, which are an object here."""
    return {"name": name, "arguments": call_arguments}


def stamp(model: str) -> dict[str, Any]:
    """Begin an object as every answer does."""
    now = time.time_ns()
    seconds = datetime.fromtimestamp(now // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return {"model": model, "created_at": f"{seconds}.{now % 10**9:09d}Z"}


def embedding(text: str, dimensions: int | None = None) -> list[float]:
    """Make a unit vector that only the text decides."""
    raw = [float(sum(text.encode()[index::8]) + 1) for index in range(8)][: dimensions or 8]
    norm = math.sqrt(sum(value * value for value in raw))
    return [value / norm for value in raw]


def done(value: Any) -> Reply:
    """Answer 200 with an object."""
    return Reply(200, encode(value), JSON_UTF8)
