"""What the clients ask: a fixed mix by the number of the request, so that a run repeats itself."""

import json
from typing import Any, Literal

import msgspec

from tests.chaos.client import Leaving
from tests.chaos.stage import KEY, TOKENS

Role = Literal["hurt", "neighbour", "well", "workspace", "nobody"]
"""What a request is to: the hurt model, the one beside it, a backend in peace, a workspace."""
CHAT = "/v1/chat/completions"
TOOL = {
    "type": "function",
    "function": {"name": "look_up", "description": "Look up a word.", "parameters": {}},
}
FILLER = "one two three four five six seven eight nine ten"
LARGE_WORDS = 1200


class Kind(msgspec.Struct, frozen=True):
    """One sort of request."""

    name: str
    role: Role
    model: str
    stream: bool = False
    tools: bool = False
    large: bool = False
    leaving: Leaving | None = None
    body: bytes | None = None
    """Sent as it is: what is wrong with it is the client's fault."""

    @property
    def whole(self) -> bool:
        """Whether the answer is to come to its end."""
        return self.leaving is None and self.body is None


HURT = ("hurt-ollama/hurt:7b", "hurt-openai/hurt-7b")
BESIDE = ("hurt-ollama/beside:7b", "hurt-openai/beside-7b")
WELL = ("well-ollama/well:7b", "well-openai/well-7b")
WORKSPACES = ("first-ollama", "first-openai", "auto")


def _both(role: Role, *models: str) -> list[Kind]:
    return [
        Kind(f"{model}, {'streamed' if stream else 'whole'}", role, model, stream)
        for model in models
        for stream in (True, False)
    ]


def _wrong(name: str, body: bytes) -> Kind:
    return Kind(name, "nobody", "", body=body)


KINDS = (
    *_both("workspace", *WORKSPACES),
    *_both("hurt", *HURT),
    Kind("tools, streamed", "workspace", "first-openai", stream=True, tools=True),
    Kind("leaves after 3 records", "hurt", HURT[1], stream=True, leaving=Leaving(events=3)),
    *_both("well", *WELL),
    Kind("leaves a whole answer", "hurt", HURT[0], leaving=Leaving(seconds=0.1)),
    *_both("neighbour", *BESIDE),
    _wrong("half a JSON", b'{"model": "hurt-openai/hurt-7b", "messages": ['),
    Kind("large prompt", "workspace", "first-ollama", stream=True, large=True),
    *_both("workspace", *WORKSPACES),
    *_both("hurt", *HURT),
    Kind("large prompt, raw", "well", WELL[1], large=True),
    _wrong("a model that is not there", b'{"model": "nobody", "messages": [{"role": "user"}]}'),
    Kind("leaves a workspace", "workspace", "auto", stream=True, leaving=Leaving(events=2)),
    Kind("tools, whole", "workspace", "first-ollama", tools=True),
    _wrong("no messages", b'{"model": "hurt-ollama/hurt:7b", "messages": []}'),
)


def kind_of(number: int) -> Kind:
    """Choose what request number so-and-so is."""
    return KINDS[number % len(KINDS)]


def mark(number: int) -> str:
    """Name a request by a word that its answer repeats."""
    return f"chaos-{number:06d}"


def write(number: int, kind: Kind, port: int) -> bytes:
    """Word the whole HTTP request."""
    body = kind.body if kind.body is not None else json.dumps(_body(number, kind)).encode()
    lines = (
        f"POST {CHAT} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        f"Authorization: Bearer {KEY}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _body(number: int, kind: Kind) -> dict[str, Any]:
    count = LARGE_WORDS if kind.large else TOKENS - 2
    words = (FILLER.split() * (count // 10 + 1))[:count]
    body: dict[str, Any] = {
        "model": kind.model,
        "messages": [{"role": "user", "content": " ".join((mark(number), *words))}],
        "stream": kind.stream,
    }
    if kind.large:
        body["max_tokens"] = TOKENS
    if kind.tools:
        body["tools"] = [TOOL]
    return body
