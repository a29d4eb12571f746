"""Ollama's requests and answers as data: what is read from them, and what is made of events."""

import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec
import pytest

from portal.shared.contract import Stream
from portal.shared.errors import BackendBroken, BackendTimeout, InvalidRequest
from portal.shared.messages import ImagePart
from portal.shared.models import BackendStatus, Model, Persona, Target, Workspace
from portal.shared.ollama_answer import WholeLines, error_line, gather, relayed, streamed
from portal.shared.ollama_models import (
    list_tags,
    name_of,
    show_model,
    show_unlisted,
    show_workspace,
    usable,
)
from portal.shared.ollama_options import read_options
from portal.shared.ollama_place import first
from portal.shared.ollama_request import OllamaChat, is_over, read_chat
from portal.shared.turns import Error, Finish, Sampling, Text, ToolCall, TurnEvent, Usage


def chat(**fields: Any) -> OllamaChat:
    """Make a chat request."""
    return msgspec.convert({"model": "m", **fields}, OllamaChat)


async def events(*given: TurnEvent) -> AsyncGenerator[TurnEvent, None]:
    for event in given:
        yield event


async def chunks(*given: bytes) -> AsyncIterator[bytes]:
    for chunk in given:
        yield chunk


def test_options_are_read_and_those_of_ollama_alone_are_named() -> None:
    found = read_options(
        {"temperature": 1, "num_predict": 5.0, "stop": "x", "seed": None, "mirostat": 1, "a": {}}
    )
    assert found == (
        Sampling(temperature=1.0, max_tokens=5, stop=("x",)),
        ("options.a", "options.mirostat"),
    )
    assert read_options(None) == (Sampling(), ())


@pytest.mark.parametrize("value", [-1, -2, 0])
def test_an_answer_without_end_has_no_limit(value: int) -> None:
    assert read_options({"num_predict": value})[0].max_tokens is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", "hot"),
        ("temperature", True),
        ("seed", 1.5),
        ("num_predict", float("inf")),
        ("stop", [1]),
        ("stop", 5),
    ],
)
def test_an_option_of_a_wrong_type_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match=rf"options\.{name}") as caught:
        read_options({name: value})
    assert caught.value.param == f"options.{name}"


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"\xff\xd8\xff\xdb", "jpeg"),
        (b"GIF89a", "gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "webp"),
        (b"BM", "bmp"),
        (b"II*\x00", "tiff"),
    ],
)
def test_an_images_media_type_is_told_by_its_first_bytes(start: bytes, kind: str) -> None:
    image = base64.b64encode(start + bytes(30)).decode()
    asked = read_chat(chat(messages=[{"role": "user", "images": [image]}]), ())
    assert asked.messages[0].content == (ImagePart(f"data:image/{kind};base64,{image}"),)


@pytest.mark.parametrize("image", ["data:image/png;base64,AAAA", "%%%", "QUJD", "A"])
def test_what_is_no_image_is_refused_with_its_place(image: str) -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "user", "images": [image]}]
    with pytest.raises(InvalidRequest) as caught:
        read_chat(chat(messages=messages), ())
    assert caught.value.param == "messages[1].images[0]"


def test_a_tools_result_without_a_call_is_refused_with_its_place() -> None:
    call = {"function": {"name": "a", "arguments": {}}}
    result = {"role": "tool", "content": "1", "tool_name": "a"}
    messages = [{"role": "assistant", "tool_calls": [call]}, result, result]
    with pytest.raises(InvalidRequest, match="'a'") as caught:
        read_chat(chat(messages=messages), ())
    assert caught.value.param == "messages[2]"


@pytest.mark.parametrize(
    ("think", "effort"),
    [(None, None), (True, "medium"), (False, "none"), ("high", "high"), ("max", "high")],
)
def test_thinking_is_asked_for_as_an_effort(think: Any, effort: str | None) -> None:
    assert read_chat(chat(think=think), ()).reasoning_effort == effort


def test_what_has_no_place_is_named_and_what_portal_sees_to_itself_is_not() -> None:
    thought = [{"role": "assistant", "content": "a", "thinking": "b"}]
    sent = ("model", "messages", "stream", "truncate", "shift", "logprobs", "keep_alive")
    asked = read_chat(chat(messages=thought), sent)
    assert asked.dropped == ("keep_alive", "logprobs", "messages.thinking")


@pytest.mark.parametrize("keep_alive", [0, 0.0, "0", "0s", "0m"])
def test_no_time_in_memory_means_unloading(keep_alive: Any) -> None:
    assert is_over(keep_alive)
    assert not any(map(is_over, (None, -1, 5, "5m", "10s", "-1")))


async def test_bytes_that_come_in_whole_lines_pass_untouched() -> None:
    given = [b'{"a":1}\n', b'{"b":2}\n{"c":3}\n']
    assert [piece async for piece in WholeLines(chunks(*given))] == given


async def test_lines_cut_in_transit_are_put_together_and_a_last_one_needs_no_end() -> None:
    found = [piece async for piece in WholeLines(chunks(b"a\nb", b"c", b"d\n", b"e"))]
    assert found == [b"a\n", b"bcd\n", b"e"]


async def test_half_a_line_is_not_shown_before_a_failure() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"a\nhal"
        raise BackendBroken("it was cut")

    result = relayed(Stream(broken(), media_type="application/x-ndjson"))
    assert await anext(result.items) == b"a\n"
    with pytest.raises(BackendBroken) as caught:
        await anext(result.items)
    assert result.on_error is not None
    assert json.loads(result.on_error(caught.value)) == {"error": "it was cut"}


def test_an_unforeseen_failures_own_words_are_not_shown() -> None:
    assert b"secret" not in error_line(ValueError("secret"))


async def test_a_call_whose_arguments_are_no_object_is_a_failure_of_the_backend() -> None:
    for text in ('{"a":', "[1]", "nonsense"):
        call = ToolCall(0, "id", "f", text)
        with pytest.raises(BackendBroken, match="'f'"):
            await gather(events(call, Finish("tool_calls")), "m", "chat")


async def test_an_answer_that_breaks_ends_its_lines_with_the_error() -> None:
    result = streamed(events(Text("a"), Error("backend_timeout", "too slow")), "m", "generate")
    found = [json.loads(line) async for line in result.items]
    assert found[0]["response"] == "a"
    assert found[1:] == [{"error": "too slow"}]
    with pytest.raises(BackendTimeout, match="too slow"):
        await gather(events(Error("backend_timeout", "too slow")), "m", "chat")


async def test_an_answer_tells_the_backends_counts() -> None:
    answer = await gather(events(Text("a"), Usage(7, 3), Finish("length")), "m", "chat")
    assert (answer.prompt_eval_count, answer.eval_count) == (7, 3)
    assert answer.done_reason == "length"


LLAMA = Model("one", "llama3:8b", "ollama", created=1_700_000_000, size_bytes=5, digest="d" * 64)
STATES = (
    BackendStatus("one", "ollama", "", "live", configured=True),
    BackendStatus("two", "ollama", "", "dead", configured=True),
)


def test_a_model_is_named_plainly_only_where_that_means_it() -> None:
    own = Target("llama3:8b", backend="one", model="llama3:8b", kind="ollama")
    assert name_of(LLAMA, lambda name: own) == "llama3:8b"
    workspace = Target("llama3:8b", Workspace("llama3:8b", ""))
    assert name_of(LLAMA, lambda name: workspace) == "one/llama3:8b"

    def ambiguous(name: str) -> Target:
        raise InvalidRequest("on several")

    assert name_of(LLAMA, ambiguous) == "one/llama3:8b"


def test_tags_list_workspaces_then_personas_then_what_can_be_used() -> None:
    workspaces = (Workspace("persona/a", ""), Workspace("auto", ""))
    models = (
        LLAMA,
        msgspec.structs.replace(LLAMA, name="gone", gone=True),
        msgspec.structs.replace(LLAMA, backend="two"),
    )
    own = Target("llama3:8b", backend="one", model="llama3:8b", kind="ollama")
    rows = list_tags(workspaces, models, STATES, lambda name: own).models
    assert [row.name for row in rows] == ["auto", "persona/a", "llama3:8b"]
    assert (rows[2].modified_at, rows[2].size, rows[2].digest) == (
        "2023-11-14T22:13:20Z",
        5,
        "d" * 64,
    )
    assert all(len(row.digest) == 64 for row in rows)


def test_a_model_is_shown_with_what_is_known_of_it() -> None:
    model = Model(
        "vllm",
        "Qwen/Qwen3",
        "openai",
        capabilities=("general", "code", "function_calling", "vision"),
        context_window=32768,
        served_window=8192,
        billions=7.6,
        family="qwen3",
        quantization="FP8",
    )
    shown = show_model(model)
    assert shown.capabilities == ["completion", "tools", "vision"]
    assert shown.model_info == {
        "general.architecture": "qwen3",
        "general.parameter_count": 7_600_000_000,
        "qwen3.context_length": 8192,
    }
    assert shown.details.quantization_level == "FP8"
    assert shown.parameters.split() == ["num_ctx", "8192"]
    unlisted = show_unlisted(Target("vllm/new", backend="vllm", model="new", kind="openai"))
    assert unlisted.capabilities == ["completion"]


def test_a_workspace_is_shown_with_what_every_model_of_it_can_keep() -> None:
    models = (
        Model("a", "x", "ollama", capabilities=("general", "vision"), context_window=8192),
        Model("a", "y", "ollama", capabilities=("general",), context_window=4096),
        Model("a", "z", "ollama", capabilities=("embedding",), context_window=512),
        Model("embedded", "e", "embedded", capabilities=("general",), context_window=1024),
    )
    shown = show_workspace(Workspace("auto", "the best"), None, models)
    assert shown.capabilities == ["completion", "vision"]
    assert shown.model_info["portal.context_length"] == 4096
    alone = show_workspace(Workspace("auto", "the best"), None, models[-1:])
    assert alone.model_info["portal.context_length"] == 1024
    persona = Persona("a", "A", "", "be kind", temperature=0.25)
    shown = show_workspace(Workspace("persona/a", ""), persona, ())
    assert (shown.system, shown.parameters.split()) == ("be kind", ["temperature", "0.25"])


def test_only_models_that_can_be_asked_are_usable() -> None:
    dead = msgspec.structs.replace(LLAMA, backend="two")
    assert usable((LLAMA, dead), STATES) == [LLAMA]


def test_the_first_ollama_is_one_that_answers_or_may() -> None:
    unknown = msgspec.structs.replace(STATES[1], name="three", state="unknown")
    assert first((STATES[1], unknown, STATES[0])) == "one"
    assert first((STATES[1], unknown)) == "three"
