"""Whether a prompt fits, and what is left out when it does not."""

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.runtime.windows.tokens import counter, estimate, lower_bound, upper_bound
from portal.runtime.windows.window import (
    Fits,
    TooLong,
    Trimmed,
    Unsure,
    describe,
    fits,
    fits_raw,
    reserve_for,
    trim,
)
from portal.shared.errors import ContextLengthExceeded
from portal.shared.messages import Message, Role, ToolCallPart

SYSTEM = Message("system", "s" * 10)
CALL = Message("assistant", "", tool_calls=(ToolCallPart("1", "clock", "{}"),))
OWN = 7


def said(role: Role, size: int = 10) -> Message:
    return Message(role, "x" * size)


def by_length(messages: Sequence[Message]) -> int:
    """Count a token for each character, and some for the template."""
    return OWN + sum(len(message.text) + 1 for message in messages)


def cut(messages: Sequence[Message], room: int) -> Trimmed:
    return trim(messages, window=room + 20, reserve=20, policy="oldest", count=by_length, model="m")


def test_a_conversation_that_fits_is_left_alone() -> None:
    messages = (SYSTEM, said("user"), said("assistant"), said("user"))
    needed = by_length(messages)
    assert cut(messages, needed) == Trimmed(messages, 0, needed, needed)


def test_the_oldest_turn_goes_first_and_goes_whole() -> None:
    first = (SYSTEM, said("user"), said("assistant"))
    messages = (*first, said("user", 11), said("assistant"), said("user"))
    kept = (messages[0], *messages[3:])
    needed = by_length(messages)
    for room in (needed - 1, by_length(kept)):
        assert cut(messages, room) == Trimmed(kept, 2, by_length(kept), needed)


def test_tool_results_leave_together_with_their_call() -> None:
    messages = (said("user"), CALL, said("tool"), said("tool"), said("assistant"), said("user"))
    assert cut(messages, by_length(messages) - 1).messages == messages[-1:]


def test_the_last_user_message_stays_with_everything_after_it() -> None:
    messages = (said("user"), said("assistant"), said("user"), CALL, said("tool"))
    assert cut(messages, by_length(messages[2:])).messages == messages[2:]
    with pytest.raises(ContextLengthExceeded):
        cut(messages, by_length(messages[2:]) - 1)


def test_a_greeting_before_the_first_question_goes_first() -> None:
    messages = (SYSTEM, said("assistant"), said("user"), said("assistant"), said("user"))
    assert cut(messages, by_length(messages) - 1).messages == (SYSTEM, *messages[2:])


def test_instructions_in_between_stay_when_the_turns_around_them_go() -> None:
    rule = Message("system", "be brief")
    turn = (said("user"), said("assistant"))
    messages = (SYSTEM, *turn, rule, *turn, said("user", 12))
    found = cut(messages, by_length((SYSTEM, rule, messages[-1])))
    assert found.messages == (SYSTEM, rule, messages[-1])
    assert found.left_out == 4


def test_where_no_user_speaks_the_last_call_and_its_results_stay() -> None:
    messages = (SYSTEM, CALL, said("tool"), CALL, said("tool"))
    assert cut(messages, by_length(messages) - 1).messages == (SYSTEM, CALL, messages[-1])


def test_each_message_is_counted_once() -> None:
    counted: list[Message] = []

    def count(messages: Sequence[Message]) -> int:
        counted.extend(messages)
        return by_length(messages)

    messages = [Message("user", f"{number}") for number in range(500)]
    trim(messages, window=50, reserve=10, policy="oldest", count=count, model="m")
    assert counted == messages


def test_the_policy_never_refuses_and_tells_the_numbers() -> None:
    messages = (said("user", 500), said("user"))
    with pytest.raises(ContextLengthExceeded) as refused:
        trim(messages, window=256, reserve=64, policy="never", count=by_length, model="ollama/q")
    assert refused.value.message == (
        "ollama/q's maximum context length is 256 tokens, but the messages need about 519, and 64 "
        "are kept for the answer. Shorten them, ask for fewer max_tokens or choose a model with a "
        "larger window."
    )
    assert (refused.value.param, refused.value.code) == ("messages", "context_length_exceeded")


def test_a_last_message_that_is_too_long_alone_is_refused_with_its_own_size() -> None:
    messages = (SYSTEM, said("user"), said("assistant"), said("user", 300))
    with pytest.raises(ContextLengthExceeded, match="the last message alone need about 319,"):
        cut(messages, 200)


@pytest.mark.parametrize("messages", [(), (SYSTEM,), (said("tool"),)])
def test_what_has_no_turns_fits_or_is_refused(messages: tuple[Message, ...]) -> None:
    assert cut(messages, by_length(messages)).messages == messages
    with pytest.raises(ContextLengthExceeded):
        cut(messages, by_length(messages) - 1)


roles: st.SearchStrategy[Role] = st.sampled_from(["system", "user", "assistant", "tool"])
conversations = st.lists(st.tuples(roles, st.integers(0, 40)), max_size=14).map(
    lambda drawn: tuple(
        Message(role, "x" * size, name=str(number)) for number, (role, size) in enumerate(drawn)
    )
)


def turns_of(messages: Sequence[Message]) -> list[list[Message]]:
    """Group the spoken messages into turns, the way the rule is told: written anew for the test."""
    opening = "user" if any(message.role == "user" for message in messages) else "assistant"
    turns: list[list[Message]] = []
    for message in messages:
        if message.role == "system":
            continue
        if not turns or message.role == opening:
            turns.append([])
        turns[-1].append(message)
    return turns


@given(conversations, st.integers(0, 400))
def test_trimming_keeps_its_promises(messages: tuple[Message, ...], room: int) -> None:
    turns = turns_of(messages)
    instructions = [message for message in messages if message.role == "system"]
    unavoidable = by_length(instructions + (turns[-1] if turns else []))
    try:
        found = cut(messages, room)
    except ContextLengthExceeded:
        assert unavoidable > room
        return
    kept = [message.name for message in found.messages]
    assert kept == [message.name for message in messages if message.name in set(kept)]
    assert [each for each in found.messages if each.role == "system"] == instructions
    assert by_length(found.messages) == found.tokens <= room
    assert len(found.messages) + found.left_out == len(messages)
    assert found.needed == by_length(messages)
    spoken = [message for message in found.messages if message.role != "system"]
    left = next(
        dropped
        for dropped in range(max(len(turns), 1))
        if list(itertools.chain.from_iterable(turns[dropped:])) == spoken
    )
    if left:
        assert found.tokens + sum(len(each.text) + 1 for each in turns[left - 1]) > room
    assert cut(found.messages, room) == Trimmed(found.messages, 0, found.tokens, found.tokens)


@given(conversations, st.integers(50, 400), st.floats(0.75, 4.0))
def test_what_trimming_keeps_fits_by_the_real_estimate(
    messages: tuple[Message, ...], window: int, factor: float
) -> None:
    count = counter(factor=factor)
    try:
        found = trim(messages, window=window, reserve=25, policy="oldest", count=count, model="m")
    except ContextLengthExceeded:
        return
    assert estimate(found.messages, factor=factor) == found.tokens <= window - 25


@pytest.mark.parametrize(
    ("window", "max_tokens", "reserve"),
    [
        (2048, None, 512),
        (8192, None, 1024),
        (8192, 100, 100),
        (8192, 3000, 3000),
        (8192, 8192, 4096),
        (8192, -1, 1024),
        (8192, 0, 1024),
    ],
)
def test_the_answer_gets_its_share(window: int, max_tokens: int | None, reserve: int) -> None:
    assert reserve_for(window, max_tokens) == reserve


def prompt(words: int) -> list[Message]:
    return [Message("user", "hello " * words)]


@pytest.mark.parametrize(
    ("words", "verdict"),
    [(1, Fits), (400, Fits), (1500, Fits), (4200, Unsure), (7000, Unsure), (8000, TooLong)],
)
def test_a_turn_is_judged_by_proof_then_by_estimate(words: int, verdict: type) -> None:
    assert isinstance(fits(prompt(words), window=8192, reserve=1024), verdict)


def test_a_verdict_carries_the_figure_that_told() -> None:
    assert fits(prompt(10), window=8192, reserve=1024) == Fits(upper_bound(prompt(10)))
    assert fits(prompt(6000), window=8192, reserve=0) == Unsure(estimate(prompt(6000)))
    assert fits(prompt(9000), window=8192, reserve=0) == TooLong(estimate(prompt(9000)))


def test_calibration_can_turn_a_verdict() -> None:
    assert isinstance(fits(prompt(6000), window=8192, reserve=0, factor=1.5), TooLong)


def fields(**values: Any) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in values.items()}


LONG = "word " * 5000


@pytest.mark.parametrize(
    "request_fields",
    [
        fields(messages=[{"role": "user", "content": LONG}]),
        fields(messages=[{"role": "user", "content": [{"type": "text", "text": LONG}]}]),
        fields(messages=[{"role": "user", "content": "word " * 50}] * 100),
        fields(messages=[{"role": "user", "content": "平等" * 10_000}]),
        fields(prompt=LONG),
        fields(prompt="go on", system=LONG),
        fields(input=[{"role": "user", "content": [{"type": "input_text", "text": LONG}]}]),
        fields(messages=[{"role": "user", "content": "word\n" * 5000}]),
        {"prompt": msgspec.Raw(b'"' + rb"\u0061\u0020" * 5000 + b'"')},
    ],
)
def test_a_raw_request_that_cannot_fit_is_proven_too_long(
    request_fields: dict[str, msgspec.Raw],
) -> None:
    match fits_raw(request_fields, window=4096):
        case TooLong(tokens):
            assert tokens >= 5000
        case other:
            pytest.fail(f"judged {other}")


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 200_000}}


@pytest.mark.parametrize(
    "request_fields",
    [
        fields(messages=[{"role": "user", "content": [PICTURE]}]),
        fields(messages=[{"role": "user", "content": "see", "images": ["A" * 200_000]}]),
        fields(messages=[{"role": "user", "content": " " * 100_000 + "=" * 100_000}]),
        fields(messages=[{"role": "assistant", "content": f"<think>{LONG}</think> yes"}]),
        fields(prompt=["word " * 4000, "word " * 4000]),
        fields(prompt=list(range(20_000))),
        fields(messages=[{"role": "user", "content": {"unknown": LONG}}]),
        fields(messages=[17, None, LONG]),
        {"messages": msgspec.Raw(b"[" * 100_000)},
        {"prompt": msgspec.Raw(b'"\xff' + b"a " * 9000 + b'"')},
    ],
)
def test_a_raw_request_that_might_fit_is_not_refused(
    request_fields: dict[str, msgspec.Raw],
) -> None:
    assert isinstance(fits_raw(request_fields, window=4096), Unsure)


def test_a_short_raw_request_fits_without_a_closer_look() -> None:
    short = fields(messages=[{"role": "user", "content": "hi"}], temperature=1, model="m")
    assert fits_raw(short, window=4096) == Fits(len(bytes(short["messages"])))
    assert fits_raw(fields(model="m"), window=4096) == Fits(0)


@given(conversations, st.text(max_size=300), st.integers(1, 200))
def test_the_raw_judgement_is_the_lower_bound_of_the_same_messages(
    messages: tuple[Message, ...], text: str, window: int
) -> None:
    spoken = [*messages, Message("user", text)]
    raw = fields(messages=[{"role": each.role, "content": each.text} for each in spoken])
    refused = isinstance(fits_raw(raw, window=window), TooLong)
    assert refused == (lower_bound(spoken) > window)


def test_the_header_tells_the_numbers_in_ascii() -> None:
    text = describe(window=8192, prompt=9120, left_out=6, kept=14)
    assert text == "window=8192; prompt=9120; left_out=6; kept=14"
    assert text.isascii()
    assert describe(window=8192, prompt=9120, kept=3, read=4098).endswith("kept=3; read=4098")
