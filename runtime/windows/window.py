"""Whether a prompt fits a model's window, and how a conversation is made to fit. Pure.

Raw requests are never changed: of them it is only told when they cannot fit, by proof. Turns are
trimmed by their workspace's policy, whole turns at a time, and what was left out is told.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import msgspec

from portal.runtime.windows.tokens import Count, estimate, least, spoken, upper_bound
from portal.shared.errors import ContextLengthExceeded
from portal.shared.messages import Message
from portal.shared.turns import ToolSpec

ANSWER = 1024
"""Tokens kept for an answer where nobody says how long it may get."""
_BAND = 4
"""Within this part of the window, an estimate is not trusted."""
_RAW_TEXTS = ("messages", "prompt", "system", "input", "instructions")


class Fits(msgspec.Struct, frozen=True, tag="fits"):
    """It fits; by proof, or by an estimate far below the window."""

    tokens: int


class Unsure(msgspec.Struct, frozen=True, tag="unsure"):
    """It is too close to tell: the backend's own tokenizer may be asked."""

    tokens: int
    """Estimated."""


class TooLong(msgspec.Struct, frozen=True, tag="too_long"):
    """It cannot fit."""

    tokens: int
    """Of a turn, as estimated; of a raw request, at least."""


Verdict = Fits | Unsure | TooLong


class Trimmed(msgspec.Struct, frozen=True):
    """A conversation that fits."""

    messages: tuple[Message, ...]
    left_out: int
    """Messages that are not in it any more."""
    tokens: int
    """Of what is kept, with template and tools."""
    needed: int
    """Of all that there was."""


class _RawMessage(msgspec.Struct):
    role: Any = None
    content: Any = None


_decode = msgspec.json.Decoder(str | list[_RawMessage | str]).decode


def reserve_for(window: int, max_tokens: int | None) -> int:
    """Choose how many tokens of the window are kept for the answer.

    A quarter of the window but no more than 1,024 unless `max_tokens` says more or less; at most
    half: it is a limit, not a need, and many clients always send the same large one.
    """
    if max_tokens is None or max_tokens < 1:
        return min(window // 4, ANSWER)
    return min(max_tokens, window // 2)


def fits(
    messages: Sequence[Message],
    tools: Sequence[ToolSpec] = (),
    *,
    window: int,
    reserve: int,
    factor: float = 1.0,
) -> Verdict:
    """Judge a turn: by bytes where that is proof, else by an estimate.

    Unsure within a quarter of the window around what may be used of it. Whoever cannot count has
    then to go by the estimate. `factor` is the model's calibration.
    """
    room = window - reserve
    most = upper_bound(messages, tools)
    if most <= room:
        return Fits(most)
    likely = estimate(messages, tools, factor=factor)
    if abs(likely - room) <= window // _BAND:
        return Unsure(likely)
    return Fits(likely) if likely < room else TooLong(likely)


def fits_raw(fields: Mapping[str, msgspec.Raw], *, window: int) -> Verdict:
    """Judge a raw request by the JSON of its fields; TooLong is proven, so it may be refused.

    Knows the text fields of OpenAI's, Anthropic's and Ollama's APIs. A text that it cannot read
    counts as nothing, for the backend is the judge. The answer's share is not looked at either.
    """
    texts = [bytes(fields[name]) for name in _RAW_TEXTS if name in fields]
    size = sum(map(len, texts))
    if size <= window:
        return Fits(size)
    at_least = 0
    if not all(map(bytes.isascii, texts)) or sum(map(_most_words, texts)) > window:
        at_least = sum(map(_raw_least, texts))
    return TooLong(at_least) if at_least > window else Unsure(max(at_least, size // 4))


def trim(
    messages: Sequence[Message],
    *,
    window: int,
    reserve: int,
    policy: Literal["oldest", "never"],
    count: Count,
    model: str,
) -> Trimmed:
    """Leave out the oldest turns of a conversation until it fits.

    A turn is a user message and all up to the next one, so that replies and the results of tools
    never stand alone; where no user speaks, an assistant's message and its results. Kept are all
    system messages, and the last turn, to which the last user message and all after it belong.
    What came before the first user message goes first. Each message is counted once.
    Raises ContextLengthExceeded when that is not enough, or the policy is never.
    """
    room = window - reserve
    empty = count(())
    costs = [count((message,)) - empty for message in messages]
    needed = empty + sum(costs)
    if needed <= room:
        return Trimmed(tuple(messages), 0, needed, needed)
    if policy == "never":
        raise too_long(model, needed=needed, window=window, reserve=reserve)
    tokens, start, left_out = needed, 0, 0
    for first, following in pairwise(_turns(messages)):
        for index in range(first, following):
            if messages[index].role != "system":
                tokens -= costs[index]
                left_out += 1
        start = following
        if tokens <= room:
            break
    if tokens > room:
        raise too_long(model, needed=tokens, window=window, reserve=reserve, trimmed=left_out > 0)
    instructions = [message for message in messages[:start] if message.role == "system"]
    return Trimmed((*instructions, *messages[start:]), left_out, tokens, needed)


def too_long(
    model: str, *, needed: int, window: int, reserve: int, trimmed: bool = False
) -> ContextLengthExceeded:
    """Make the error that says what was needed and what there is; `reserve` may be 0."""
    what = "the system prompt and the last message alone" if trimmed else "the messages"
    answer = f", and {reserve} are kept for the answer" if reserve else ""
    advice = "Shorten them" + (", ask for fewer max_tokens" if reserve else "")
    return ContextLengthExceeded(
        f"{model}'s maximum context length is {window} tokens, but {what} need about {needed}"
        f"{answer}. {advice} or choose a model with a larger window.",
        param="messages",
    )


def describe(
    *, window: int, prompt: int, left_out: int = 0, kept: int = 0, read: int | None = None
) -> str:
    """Write the header x-portal-context, in ASCII.

    `prompt`: tokens before anything was left out; `left_out` and `kept` count messages; `read`:
    the tokens that the backend read, where it cut the prompt itself.
    """
    text = f"window={window}; prompt={prompt}; left_out={left_out}; kept={kept}"
    return text if read is None else f"{text}; read={read}"


def _turns(messages: Sequence[Message]) -> list[int]:
    """List where turns begin: the first is at 0."""
    roles = [message.role for message in messages]
    opening = "user" if "user" in roles else "assistant"
    starts = [index for index, role in enumerate(roles) if role == opening]
    spoken = any(role != "system" for role in roles[: starts[0]]) if starts else False
    return [0, *starts] if spoken else [0, *starts[1:]]


def _most_words(text: bytes) -> int:
    """Count where words may begin in ASCII JSON: after a space, an escape or a quote."""
    return text.count(b" ") + text.count(b"\\") + text.count(b'"')


def _raw_least(text: bytes) -> int:
    try:
        found = _decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return 0
    if isinstance(found, str):
        return least(found)
    total, alone = 0, 0
    for item in found:
        if isinstance(item, str):
            # A list of texts is a batch: each has a window of its own.
            alone = max(alone, least(item))
        else:
            total += _least_of_content(item)
    return max(total, alone)


def _least_of_content(message: _RawMessage) -> int:
    match message.content:
        case str(text):
            return least(spoken(message.role, text))
        case list(parts):
            texts = (part.get("text") for part in parts if isinstance(part, dict))
            return sum(least(text) for text in texts if isinstance(text, str))
    return 0
