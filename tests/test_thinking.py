"""Thoughts told from answers."""

import pytest

from portal.runtime.answers.reading import AnswerReader
from portal.shared.turns import Finish, ModelEvent, Reasoning, Text
from tests.reading_answers import Case, corpus, joined, read, run


@pytest.mark.parametrize("case", corpus("thoughts"), ids=lambda case: case.name)
def test_a_thought_is_split_from_the_answer(case: Case) -> None:
    for parts in ([case.text], case.text):
        answer = read(parts, case.tools, starts_in_thought=case.starts_in_thought)

        assert (answer.shown, answer.thought) == (case.shown, case.thought)
        assert (answer.calls, answer.finish, answer.misplaced) == ([], "stop", 0)


@pytest.mark.parametrize("case", corpus("thoughts"), ids=lambda case: case.name)
def test_thoughts_are_split_whether_tools_were_offered_or_not(case: Case) -> None:
    answer = read([case.text], (), starts_in_thought=case.starts_in_thought)

    assert (answer.shown, answer.thought) == (case.shown, case.thought)


@pytest.mark.parametrize("text", ["Hm, two.\n</think>\n\nFour.", "Hm, two.\n</think>Four."])
def test_a_closing_tag_alone_tells_how_much_text_was_a_thought(text: str) -> None:
    for parts in ([text], text):
        answer = read(parts)

        assert answer.shown == "Hm, two.\nFour."
        assert answer.shown[: answer.misplaced] == "Hm, two.\n"


@pytest.mark.parametrize(
    "text",
    [
        "The tag is `</think>`\nand no other.",
        "Close it with </think> then.",
        "```\nHm.\n</think>\n```",
        "<b>x</b> and <think>, then\n</think>\nand so on",
    ],
)
def test_a_closing_tag_that_is_written_about_stays(text: str) -> None:
    for parts in ([text], text):
        answer = read(parts)

        assert (answer.shown, answer.misplaced) == (text, 0)


def test_a_thought_is_given_as_it_comes() -> None:
    reader = AnswerReader(())
    reader.feed(Text("<think>\n"))

    assert list(reader.feed(Text("Two"))) == [Reasoning("Two")]
    assert list(reader.feed(Text(" and"))) == [Reasoning(" and")]


def test_only_what_may_be_a_tag_is_held_back() -> None:
    reader = AnswerReader(())

    assert list(reader.feed(Text("a\n<thi"))) == [Text("a\n")]
    assert list(reader.feed(Text("rd>"))) == [Text("<third>")]


def test_reasoning_of_the_backend_passes() -> None:
    reasoning = Reasoning("Hm.")

    assert list(AnswerReader(()).feed(reasoning)) == [reasoning]


def test_a_thought_told_in_both_ways_is_given_once() -> None:
    events: list[ModelEvent] = [
        Reasoning("Hm, "),
        Text("<think>\nHm, "),
        Reasoning("two."),
        Text("two.\n</think>\n4"),
    ]

    shown, thought, _, _ = joined(run(AnswerReader(()), [*events, Finish("stop")]))

    assert (shown, thought) == ("4", "Hm, two.")


@pytest.mark.parametrize("end", ["</think>4", ""])
def test_another_thought_in_tags_is_given_beside_the_reasoning(end: str) -> None:
    events = run(AnswerReader(()), [Reasoning("Hm."), Text("<think>Or five?" + end)])

    assert joined(events)[:2] == ("4" if end else "", "Hm.Or five?")


def test_a_thought_that_grows_long_beside_reasoning_is_not_held_for_ever() -> None:
    reader = AnswerReader(())
    reader.feed(Reasoning("Hm."))
    reader.feed(Text("<think>a"))

    given = [each for _ in range(80) for each in reader.feed(Text("b" * 1024))]

    assert sum(len(event.text) for event in given if isinstance(event, Reasoning)) > 60_000


def test_reasoning_of_the_backend_means_that_the_text_does_not_begin_in_a_thought() -> None:
    reader = AnswerReader((), starts_in_thought=True)

    events = run(reader, [Reasoning("Hm."), Text("Four."), Finish("stop")])

    assert joined(events)[:2] == ("Four.", "Hm.")


def test_a_closing_tag_left_over_behind_reasoning_of_the_backend_is_dropped() -> None:
    events = run(AnswerReader(()), [Reasoning("Hm."), Text("</think>\n\nFour.")])

    assert joined(events)[:2] == ("Four.", "Hm.")


def test_behind_reasoning_of_the_backend_a_closing_tag_in_the_text_tells_nothing() -> None:
    reader = AnswerReader(())

    events = run(reader, [Reasoning("Hm."), Text("Four.\n</think>\nYes.")])

    assert joined(events)[:2] == ("Four.\n</think>\nYes.", "Hm.")
    assert reader.misplaced == 0
