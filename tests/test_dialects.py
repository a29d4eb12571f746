"""What each kind of backend is sent, and what its answers become."""

import contextlib
import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.runtime.backends import ollama_dialect, openai_dialect
from portal.runtime.backends.failures import message_in
from portal.runtime.backends.http_backend import EventReader
from portal.runtime.backends.tolerant import count_in_words
from portal.shared.errors import BackendBroken, BackendRefused, InvalidRequest
from portal.shared.messages import ImagePart, Message, TextPart, ToolCallPart
from portal.shared.turns import (
    Finish,
    ModelEvent,
    ModelRequest,
    Reasoning,
    Sampling,
    Text,
    ToolCall,
    ToolSpec,
    Usage,
)

WEATHER = ToolSpec("weather", "Tell the weather", {"type": "object"})
FULL = Sampling(0.5, 0.9, 64, ("END",), 7, 0.1, 0.2)


def request(*messages: Message, **more: Any) -> ModelRequest:
    """Make a request; a plain greeting by default."""
    return ModelRequest("m", messages or (Message("user", "hi"),), **more)


def openai(asked: ModelRequest) -> dict[str, Any]:
    """Encode for OpenAI's dialect, decoded again."""
    return msgspec.json.decode(openai_dialect.encode_request(asked), type=dict[str, Any])


def ollama(asked: ModelRequest) -> dict[str, Any]:
    """Encode for Ollama, decoded again."""
    return msgspec.json.decode(ollama_dialect.encode_request(asked), type=dict[str, Any])


def read(reader: EventReader, *pieces: bytes) -> list[ModelEvent]:
    """Read a body in these slices, up to its end as the backend does."""
    events: list[ModelEvent] = []
    for piece in pieces:
        events += reader.feed(piece)
        if reader.done:
            break
    return events + reader.end()


def from_openai(*pieces: bytes) -> list[ModelEvent]:
    """Decode SSE."""
    return read(openai_dialect.EventReader("b"), *pieces)


def from_ollama(*pieces: bytes) -> list[ModelEvent]:
    """Decode NDJSON."""
    return read(ollama_dialect.EventReader("b"), *pieces)


def sse(*objects: Any, done: bool = True) -> bytes:
    """Write objects as server-sent events."""
    data = b"".join(b"data: " + msgspec.json.encode(each) + b"\n\n" for each in objects)
    return data + (b"data: [DONE]\n\n" if done else b"")


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    """Make one chat chunk."""
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def test_openai_is_sent_every_sampling_field_under_its_own_name() -> None:
    sent = openai(request(sampling=FULL))
    assert sent == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 64,
        "stop": ["END"],
        "seed": 7,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
    }


def test_ollama_is_sent_every_sampling_field_as_an_option() -> None:
    assert ollama(request(sampling=FULL))["options"] == {
        "temperature": 0.5,
        "top_p": 0.9,
        "num_predict": 64,
        "stop": ["END"],
        "seed": 7,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
    }


def test_a_context_is_told_to_ollama_alone() -> None:
    asked = request(num_ctx=8192)
    assert ollama(asked)["options"] == {"num_ctx": 8192}
    assert "num_ctx" not in str(openai(asked))


def test_what_was_not_asked_for_is_not_sent() -> None:
    assert set(openai(request())) == {"model", "messages", "stream", "stream_options"}
    assert ollama(request())["options"] == {}


def test_tools_and_their_earlier_calls_reach_both_dialects() -> None:
    history = (
        Message("user", "weather?"),
        Message("assistant", "", (ToolCallPart("c1", "weather", '{"city":"Rome"}'),)),
        Message("tool", "sunny", tool_call_id="c1"),
    )
    asked = request(*history, tools=(WEATHER,), tool_choice="auto")
    one, other = openai(asked), ollama(asked)
    assert one["tools"] == other["tools"]
    assert one["tools"][0]["function"]["name"] == "weather"
    assert one["messages"][1] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city":"Rome"}'},
            }
        ],
    }
    assert one["messages"][2] == {"role": "tool", "content": "sunny", "tool_call_id": "c1"}
    assert other["messages"][1]["tool_calls"] == [
        {"function": {"name": "weather", "arguments": {"city": "Rome"}}}
    ]
    assert other["messages"][2] == {"role": "tool", "content": "sunny", "tool_name": "weather"}


def test_fine_print_of_tools_and_images_reaches_openai_and_is_named_for_ollama() -> None:
    tool = ToolSpec("f", "", {"type": "object"}, strict=True)
    image = ImagePart("data:image/png;base64,QUJD", "low")
    asked = request(Message("user", (image,)), tools=(tool,), parallel_tool_calls=False)
    sent = openai(asked)
    assert sent["tools"][0]["function"]["strict"] is True
    assert sent["parallel_tool_calls"] is False
    assert sent["messages"][0]["content"][0]["image_url"]["detail"] == "low"
    assert openai_dialect.drops(asked) == ()
    assert "strict" not in ollama(asked)["tools"][0]["function"]
    assert ollama_dialect.drops(asked) == ("parallel_tool_calls", "tools.strict")


def test_tool_choice_none_offers_ollama_no_tools() -> None:
    assert "tools" not in ollama(request(tools=(WEATHER,), tool_choice="none"))


def test_an_image_is_a_part_for_openai_and_base64_for_ollama() -> None:
    asked = request(Message("user", (TextPart("what?"), ImagePart("data:image/png;base64,QUJD"))))
    assert openai(asked)["messages"][0]["content"] == [
        {"type": "text", "text": "what?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
    ]
    assert ollama(asked)["messages"][0] == {"role": "user", "content": "what?", "images": ["QUJD"]}


def test_an_image_by_web_address_is_refused_for_ollama() -> None:
    with pytest.raises(InvalidRequest, match="no web addresses"):
        ollama(request(Message("user", (ImagePart("https://example.org/cat.png"),))))


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({"type": "json_object"}, "json"),
        (
            {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}},
            {"type": "object"},
        ),
        ({"type": "text"}, None),
    ],
)
def test_a_response_format_becomes_ollamas_format(asked: dict[str, Any], sent: Any) -> None:
    assert ollama(request(response_format=asked)).get("format") == sent
    assert openai(request(response_format=asked))["response_format"] == asked


def test_an_unknown_response_format_is_refused_for_ollama() -> None:
    with pytest.raises(InvalidRequest, match="response_format"):
        ollama(request(response_format={"type": "xml"}))


def test_reasoning_effort_switches_ollamas_thinking() -> None:
    assert ollama(request(reasoning_effort="high"))["think"] is True
    assert ollama(request(reasoning_effort="none"))["think"] is False
    assert "think" not in ollama(request())


async def test_openai_deltas_become_events() -> None:
    events = from_openai(
        sse(
            delta(role="assistant", content=""),
            delta(reasoning_content="hm"),
            delta(content="Hel"),
            delta(content="lo"),
            delta(
                tool_calls=[{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{"}}]
            ),
            delta(tool_calls=[{"index": 0, "function": {"arguments": "}"}}]),
            delta("tool_calls"),
            {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}},
        )
    )
    assert events == [
        Reasoning("hm"),
        Text("Hel"),
        Text("lo"),
        ToolCall(0, "c", "f", "{"),
        ToolCall(0, "", "", "}"),
        Usage(3, 4),
        Finish("tool_calls"),
    ]


async def test_ollama_lines_become_events() -> None:
    lines = [
        {"message": {"role": "assistant", "thinking": "hm"}, "done": False},
        {"message": {"role": "assistant", "content": "Hello"}, "done": False},
        {
            "message": {"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
            "done": False,
        },
        {"message": {"content": ""}, "done": True, "prompt_eval_count": 3, "eval_count": 4},
    ]
    body = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    events = from_ollama(body)
    call = events[2]
    assert isinstance(call, ToolCall)
    assert call.id.startswith("call_")
    assert events == [
        Reasoning("hm"),
        Text("Hello"),
        ToolCall(0, call.id, "f", '{"a":1}'),
        Usage(3, 4),
        Finish("tool_calls"),
    ]


async def test_a_length_stop_is_told_by_both() -> None:
    assert (from_openai(sse(delta("length", content="x"))))[-1] == Finish("length")
    line = b'{"message":{"content":"x"},"done":true,"done_reason":"length"}\n'
    assert (from_ollama(line))[-1] == Finish("length")


async def test_openai_streams_without_done_but_with_a_reason_are_whole() -> None:
    assert from_openai(sse(delta("stop", content="x"), done=False)) == [
        Text("x"),
        Finish("stop"),
    ]


async def test_openai_streams_whose_last_event_lacks_its_line_end_are_whole() -> None:
    body = sse(delta(content="x"), done=False) + b"data: [DONE]"
    assert from_openai(body) == [Text("x"), Finish("stop")]


@pytest.mark.parametrize(
    "body",
    [
        sse(delta(content="x"), done=False),
        b"data: not json\n\n",
        b'data: {"choices":7}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
        b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n',
        b"",
    ],
)
async def test_cut_and_malformed_openai_streams_are_broken(body: bytes) -> None:
    with pytest.raises(BackendBroken):
        from_openai(body)


@pytest.mark.parametrize(
    "body",
    [b'{"message":{"content":"x"},"done":false}\n', b"not json\n", b"[]\n", b"", b'{"done":"x"}\n'],
)
async def test_cut_and_malformed_ollama_streams_are_broken(body: bytes) -> None:
    with pytest.raises(BackendBroken):
        from_ollama(body)


async def test_an_error_within_a_stream_is_the_backends_own() -> None:
    with pytest.raises(BackendRefused, match="out of memory"):
        from_ollama(b'{"error":"out of memory"}\n')
    with pytest.raises(BackendRefused, match="overloaded"):
        from_openai(sse({"error": {"message": "overloaded"}}))


async def test_an_ollama_line_without_its_line_end_still_counts() -> None:
    body = b'{"message":{"content":"x"},"done":false}\n{"message":{},"done":true}'
    assert (from_ollama(body))[-1] == Finish("stop")


@given(
    st.lists(st.text(min_size=1, max_size=10), min_size=1, max_size=6),
    st.lists(st.integers(0, 600), max_size=6),
)
async def test_slices_never_change_the_text(texts: list[str], places: list[int]) -> None:
    body = sse(*(delta(content=text) for text in texts), delta("stop"))
    edges = sorted({0, len(body), *(place for place in places if place < len(body))})
    pieces = [body[a:b] for a, b in itertools.pairwise(edges)]
    events = from_openai(*pieces)
    assert [event.text for event in events if isinstance(event, Text)] == texts


@given(st.binary(max_size=200))
async def test_any_bytes_end_as_events_or_a_backend_error(body: bytes) -> None:
    for decode in (from_openai, from_ollama):
        with contextlib.suppress(BackendBroken, BackendRefused):
            assert isinstance((decode(body))[-1], Finish)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error":{"message":"no such model","code":404}}', "no such model"),
        (b'{"error":"model not found"}', "model not found"),
        (b'{"detail":"Not Found"}', "Not Found"),
        (b'{"message":"nope","object":"error"}', "nope"),
        (b"Bad Gateway", "Bad Gateway"),
        (b"", ""),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_error_bodies_of_any_shape_are_read(body: bytes, said: str) -> None:
    assert message_in(body) == said


@pytest.mark.parametrize(
    ("count", "said"), [(135_000_000, "135M"), (7_600_000_000, "7.6B"), (0, None), (None, None)]
)
def test_parameters_are_written_as_people_do(count: int | None, said: str | None) -> None:
    assert count_in_words(count) == said


def test_what_came_before_a_fault_is_told_first() -> None:
    for reader, text in (
        (openai_dialect.EventReader("b"), sse(delta(content="x"), done=False) + b"data: no\n\n"),
        (ollama_dialect.EventReader("b"), b'{"message":{"content":"x"},"done":false}\nno\n'),
    ):
        assert reader.feed(text) == [Text("x")]
        assert reader.done
        with pytest.raises(BackendBroken):
            reader.end()
