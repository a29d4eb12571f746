"""`@model:<name>` in what somebody typed."""

import pytest

from portal.runtime.routing.typed import read_override, split_typed
from portal.shared.messages import ImagePart, Message, TextPart


@pytest.mark.parametrize(
    ("text", "left", "name"),
    [
        ("@model:qwen3:8b What is this?", "What is this?", "qwen3:8b"),
        ("  @model:vllm/Qwen/Qwen2.5\nhello", "hello", "vllm/Qwen/Qwen2.5"),
        ("What is this? @model:llama3", "What is this?", "llama3"),
        ("What is this?\n@model:llama3\n", "What is this?", "llama3"),
        ("@model:llama3", "", "llama3"),
        ("Somebody wrote @model:llama3 in the middle", None, None),
        ("> @model:llama3 quoted", None, None),
        ("mail@model:llama3", None, None),
        ("@models:llama3 hi", None, None),
        ("@model: llama3 hi", None, None),
        ("", None, None),
    ],
)
def test_a_name_counts_at_either_end_only(text: str, left: str | None, name: str | None) -> None:
    assert split_typed(text) == (text if left is None else left, name)


def test_the_last_user_message_decides_and_known_names_leave_the_history() -> None:
    messages = [
        Message("user", "@model:old first"),
        Message("assistant", "@model:mine is not mine to say"),
        Message("user", "@model:unknown second"),
        Message("user", "third @model:new"),
    ]
    stripped, override = read_override(messages, {"old", "new"}.__contains__)
    assert override == "new"
    assert [each.text for each in stripped] == [
        "first",
        "@model:mine is not mine to say",
        "@model:unknown second",
        "third",
    ]


def test_an_unknown_name_in_the_last_message_is_given_for_its_refusal() -> None:
    assert read_override([Message("user", "@model:nope hi")], lambda _: False)[1] == "nope"


def test_a_message_of_parts_is_read_at_its_first_and_last_text() -> None:
    image = ImagePart("data:image/png;base64,AA==")
    message = Message("user", (TextPart("@model:a"), image, TextPart("what is it?")))
    (stripped,), override = read_override([message], lambda _: True)
    assert override == "a"
    assert stripped.content == (image, TextPart("what is it?"))


def test_messages_without_a_name_stay_the_very_same() -> None:
    messages = (Message("user", "hello"),)
    assert read_override(messages, lambda _: True) == (messages, None)
