"""What a fake is told to do: the words of a script, as data, and how a text becomes tokens."""

import re
from typing import Any, Literal

import msgspec

_TOKEN = re.compile(r"\s*\S+|\s+")


class ScriptedCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool call that the model makes; `pieces` replaces how its arguments are cut into deltas."""

    name: str
    arguments: dict[str, Any] = {}
    id: str = ""
    pieces: tuple[str, ...] | None = None


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How requests are answered. Counts of tokens and bytes start at 0: 0 is before the first."""

    # Which requests: by default all that make a model work.
    path: str | None = None
    model: str | None = None
    times: int | None = None
    """For how many requests; None: until the next script for them, or a reset."""

    # What is said: by default the user's last words, echoed.
    text: str | None = None
    tokens: tuple[str, ...] | None = None
    """The reply, cut as given; an empty list is an empty completion."""
    reasoning: tuple[str, ...] = ()
    tool_calls: tuple[ScriptedCall, ...] = ()
    finish: str | None = None
    """`stop`, `length`, `tool_calls` …; by default what the reply amounts to."""
    input_tokens: int = 11
    """Tokens of the prompt, as the answer reports them."""
    count_input: bool = False
    """The prompt's tokens are counted in what was asked instead."""
    old: bool = False
    """An Ollama so old that it cuts a prompt even where it was asked not to."""
    usage: bool = True
    """Whether the answer tells its token counts."""

    # When it is said.
    interval_ms: float = 0
    """Pause before each token."""
    manual: bool = False
    """Each token waits to be let out by `/__fake/step`."""
    head_delay_ms: float = 0
    """Pause before anything is sent, the head included."""
    hold_head: bool = False
    """The head waits for the first token, instead of going out at once."""
    hang: bool = False
    """Nothing is ever sent."""
    stall_after: int | None = None
    """Token after which nothing more is sent."""
    ping_ms: float = 0
    """With `stall_after`: a sign of life without meaning is sent this often instead of nothing."""

    # What goes wrong.
    cut_after: int | None = None
    """Token after which the connection is closed in mid-answer."""
    cut_after_bytes: int | None = None
    """Byte of the body after which the connection is closed."""
    reset: bool = False
    """A cut by `cut_after` is a reset (RST), not an orderly close."""
    garbage_after: int | None = None
    """Token after which a record is sent that is no JSON; the answer then goes on."""
    error_after: int | None = None
    """Token after which the server reports `error` and ends, as its API does in mid-stream."""
    error: str = "an error was encountered while running the model"
    drop: bool = False
    """After a whole answer the connection is closed, unannounced: a pool's copy is stale."""

    # Instead of a reply.
    status: int | None = None
    body: Any = None
    """With `status`: text as it is, anything else as JSON."""
    headers: dict[str, str] = {}
    content_type: str | None = None
    """Replaces the content type, of a real reply too."""
    raw: bytes | None = None
    """Bytes sent in place of everything, base64 in JSON; then the connection closes."""

    # For measuring.
    instant: bool = False
    """The reply is prebuilt per path and model, sent whole, and not recorded."""


class Plan:
    """The scripts in force, the earliest match first; those that are used up are gone."""

    def __init__(self, initial: tuple[Script, ...] = ()) -> None:
        self._initial = initial
        self._counted: list[tuple[Script, int]] = []
        self._standing: list[Script] = []
        self.reset()

    def reset(self) -> None:
        """Go back to what the program was started with."""
        self._counted, self._standing = [], []
        for script in self._initial:
            self.add(script)

    def add(self, script: Script) -> None:
        """Put a script in force: counted ones queue up, a standing one replaces its like."""
        if script.times is not None:
            self._counted.append((script, script.times))
            return
        key = (script.path, script.model)
        self._standing = [old for old in self._standing if (old.path, old.model) != key]
        self._standing.insert(0, script)

    def take(self, path: str, model: str | None, *, works: bool) -> Script | None:
        """Choose the script for a request; `works` says whether a model has to work for it."""

        def fits(script: Script) -> bool:
            if script.model is not None and script.model != model:
                return False
            return works if script.path is None else script.path == path

        for index, (script, left) in enumerate(self._counted):
            if fits(script):
                if left > 1:
                    self._counted[index] = (script, left - 1)
                else:
                    del self._counted[index]
                return script
        return next((script for script in self._standing if fits(script)), None)


class Saying(msgspec.Struct, frozen=True):
    """What the model says to one request, before any API gives it a form."""

    tokens: tuple[str, ...]
    reasoning: tuple[str, ...]
    tool_calls: tuple[ScriptedCall, ...]
    finish: str
    input_tokens: int
    usage: bool

    @property
    def text(self) -> str:
        """The whole visible reply."""
        return "".join(self.tokens)

    @property
    def output_tokens(self) -> int:
        """What a server would count: each token, of calls one for each."""
        return len(self.tokens) + len(self.reasoning) + len(self.tool_calls)


def split(text: str) -> tuple[str, ...]:
    """Cut a text into tokens that join to the same text, each word led by its space."""
    return tuple(_TOKEN.findall(text))


def say(script: Script, heard: str, limit: int | None) -> Saying:
    """Decide the reply to `heard`, at most `limit` tokens of text and reasoning together."""
    tokens = script.tokens
    if tokens is None:
        if script.text is not None:
            tokens = split(script.text)
        elif script.tool_calls:
            tokens = ()
        else:
            tokens = split(f"Echo: {heard}")
    reasoning = script.reasoning
    finish: Literal["stop", "length", "tool_calls"] = "tool_calls" if script.tool_calls else "stop"
    if limit is not None and limit >= 0 and limit < len(reasoning) + len(tokens):
        reasoning = reasoning[:limit]
        tokens = tokens[: limit - len(reasoning)]
        finish = "length"
    calls = tuple(
        msgspec.structs.replace(call, id=call.id or f"call_{index:08d}")
        for index, call in enumerate(script.tool_calls)
    )
    return Saying(
        tokens, reasoning, calls, script.finish or finish, script.input_tokens, script.usage
    )
