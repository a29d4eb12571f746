"""OpenAI's wire format, to and from turns."""

from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest

from portal.shared.errors import BackendBroken, InvalidRequest, UnsupportedField
from portal.shared.messages import ImagePart, Message, TextPart, ToolCallPart
from portal.shared.openai_answer import chunks, gather
from portal.shared.openai_request import (
    ChatMessage,
    ChatRequest,
    read_messages,
    read_sampling,
    unknown_fields,
)
from portal.shared.turns import (
    Error,
    Finish,
    Notice,
    Reasoning,
    Sampling,
    Text,
    ToolCall,
    TurnEvent,
    Usage,
)

ANSWER = (Notice("route", "r"), Text("Hel"), Text("lo"), Usage(3, 2), Finish("stop", "b", "m"))
CALLS = (
    ToolCall(0, "c0", "f", '{"a"'),
    ToolCall(0, arguments=":1}"),
    ToolCall(1, "c1", "g", "{}"),
    Finish("tool_calls"),
)


async def events(*found: TurnEvent) -> AsyncGenerator[TurnEvent, None]:
    """Be a turn with these events."""
    for event in found:
        yield event


async def sent(*found: TurnEvent, usage: bool = False) -> list[Any]:
    """Encode a stream and decode its chunks; `[DONE]` stays text."""
    decoded: list[Any] = []
    async for piece in chunks(events(*found), "m", include_usage=usage):
        assert piece.startswith(b"data: ")
        assert piece.endswith(b"\n\n")
        data = piece[6:-2]
        decoded.append("[DONE]" if data == b"[DONE]" else msgspec.json.decode(data))
    return decoded


def chat(**fields: Any) -> ChatRequest:
    """Make a chat request."""
    base = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    return msgspec.convert({**base, **fields}, ChatRequest)


def messages(*found: dict[str, Any]) -> tuple[Message, ...]:
    """Read messages as a client sends them."""
    return read_messages(msgspec.convert(list(found), list[ChatMessage]))


async def test_a_stream_has_a_role_then_text_then_a_reason_then_done() -> None:
    found = await sent(*ANSWER)
    assert found[-1] == "[DONE]"
    assert [chunk["choices"][0]["delta"] for chunk in found[:-1]] == [
        {"role": "assistant", "content": "Hel"},
        {"content": "lo"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in found[:-1]] == [None, None, "stop"]
    assert len({chunk["id"] for chunk in found[:-1]}) == 1
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in found[:-1])
    assert all("usage" not in chunk for chunk in found[:-1])


async def test_usage_comes_as_a_chunk_of_its_own_when_asked_for() -> None:
    found = await sent(*ANSWER, usage=True)
    assert [chunk["usage"] for chunk in found[:-2]] == [None] * 3
    assert found[-2]["choices"] == []
    assert found[-2]["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


async def test_tool_calls_stream_by_index() -> None:
    found = await sent(*CALLS)
    deltas = [chunk["choices"][0]["delta"] for chunk in found[:-1]]
    assert deltas[0] == {
        "role": "assistant",
        "tool_calls": [
            {
                "index": 0,
                "id": "c0",
                "type": "function",
                "function": {"name": "f", "arguments": '{"a"'},
            }
        ],
    }
    assert deltas[1] == {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}


async def test_a_late_error_is_the_last_event_and_nothing_follows() -> None:
    found = await sent(Text("Hel"), Error("backend_broken", "it broke"))
    assert found[-1]["error"]["message"] == "it broke"
    assert found[-1]["error"]["code"] == "backend_broken"


async def test_a_whole_answer_has_text_reasoning_and_usage() -> None:
    found = msgspec.to_builtins(await gather(events(Reasoning("hm"), *ANSWER), "m"))
    assert found["choices"] == [
        {
            "index": 0,
            "finish_reason": "stop",
            "logprobs": None,
            "message": {
                "role": "assistant",
                "content": "Hello",
                "refusal": None,
                "reasoning_content": "hm",
            },
        }
    ]
    assert found["usage"]["total_tokens"] == 5


async def test_whole_tool_calls_are_joined_and_have_no_text() -> None:
    message = (await gather(events(*CALLS), "m")).choices[0].message
    assert message.content is None
    assert isinstance(message.tool_calls, list)
    assert [(call.id, call.function.arguments) for call in message.tool_calls] == [
        ("c0", '{"a":1}'),
        ("c1", "{}"),
    ]


async def test_a_whole_answer_that_broke_is_an_error() -> None:
    with pytest.raises(BackendBroken, match="it broke"):
        await gather(events(Text("Hel"), Error("backend_broken", "it broke")), "m")


async def test_leaving_a_stream_closes_the_turn() -> None:
    closed = False

    async def turn() -> AsyncGenerator[TurnEvent, None]:
        nonlocal closed
        try:
            yield Text("a")
            yield Text("b")
        finally:
            closed = True

    stream = chunks(turn(), "m", include_usage=False)
    assert isinstance(stream, AsyncGenerator)
    await anext(stream)
    await stream.aclose()
    assert closed


def test_messages_of_every_role_are_read() -> None:
    assert messages(
        {"role": "developer", "content": "be kind"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "content": "ok", "tool_call_id": "c"},
    ) == (
        Message("system", "be kind"),
        Message("user", "a\nb"),
        Message("assistant", "", (ToolCallPart("c", "f", "{}"),)),
        Message("tool", "ok", tool_call_id="c"),
    )


def test_an_image_keeps_its_place_among_the_parts() -> None:
    url = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}
    found = messages({"role": "user", "content": [{"type": "text", "text": "see"}, url]})
    assert found[0].content == (TextPart("see"), ImagePart("data:image/png;base64,QQ=="))


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ({"role": "user"}, "messages[0].content"),
        ({"role": "tool", "content": "x"}, "messages[0]"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[0].content[0]"),
    ],
)
def test_a_message_that_lacks_something_is_named(message: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        messages(message)
    assert caught.value.param == place


def test_no_messages_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="empty"):
        read_messages([])


def test_sampling_is_read_and_the_newer_limit_wins() -> None:
    asked = chat(temperature=0.5, max_tokens=5, max_completion_tokens=7, stop="X", seed=1)
    assert read_sampling(asked) == Sampling(temperature=0.5, max_tokens=7, stop=("X",), seed=1)


@pytest.mark.parametrize("field", [{"temperature": 3}, {"top_p": -1}, {"max_tokens": 0}])
def test_values_out_of_range_are_named_with_the_range(field: dict[str, float]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_sampling(chat(**field))
    assert caught.value.param in field


def test_more_than_one_choice_is_refused() -> None:
    with pytest.raises(UnsupportedField, match="`n` is 2"):
        read_sampling(chat(n=2))


def test_unknown_fields_are_named_and_harmless_ones_are_not() -> None:
    assert unknown_fields(["model", "logit_bias", "user", "zeta"]) == ("logit_bias", "zeta")
