"""The one message builder, which feeds every backend (S6)."""

from hypothesis import given
from hypothesis import strategies as st

from portal.shared.messages import ImagePart, Message, TextPart, build_messages

roles = st.sampled_from(["system", "user", "assistant"])
histories = st.lists(st.builds(Message, roles, st.text(max_size=20)), max_size=8)


def test_a_prompt_alone_is_one_user_message() -> None:
    assert build_messages("hello") == [Message("user", "hello")]


def test_system_prompt_history_and_prompt_come_in_that_order() -> None:
    history = [Message("user", "a"), Message("assistant", "b")]
    assert build_messages("c", "be kind", history) == [
        Message("system", "be kind"),
        *history,
        Message("user", "c"),
    ]


def test_leading_system_messages_are_joined_behind_the_given_one() -> None:
    history = [Message("system", "one"), Message("system", "two"), Message("user", "hi")]
    assert build_messages(None, "zero", history)[0] == Message("system", "zero\n\none\n\ntwo")


def test_a_later_system_message_keeps_its_place() -> None:
    history = [Message("user", "a"), Message("system", "now in French")]
    assert build_messages(messages=history) == history


def test_empty_texts_add_nothing() -> None:
    assert build_messages("", "", []) == []
    assert build_messages(messages=[Message("system", "")]) == []


def test_the_text_of_parts_leaves_images_out() -> None:
    message = Message("user", (TextPart("look"), ImagePart("data:,x"), TextPart("there")))
    assert message.text == "look\nthere"


@given(histories, st.text(max_size=20), st.text(max_size=20))
def test_nothing_that_was_said_is_lost_or_reordered(
    history: list[Message], prompt: str, system: str
) -> None:
    built = build_messages(prompt, system, history)
    spoken = [message for message in history if message.role != "system"]
    kept = [message for message in built if message.role != "system"]
    assert kept == [*spoken, *([Message("user", prompt)] if prompt else [])]
    texts = "\n\n".join(message.text for message in built if message.role == "system")
    for message in history:
        assert message.role != "system" or message.text in texts
    assert system in texts
    assert sum(message.role == "system" for message in built[:2]) <= 2
