"""Tool calls that a model wrote as text."""

import json
import re

import pytest

from portal.runtime.answers.reading import AnswerReader
from portal.shared.turns import Finish, Text, ToolCall, ToolSpec
from tests.reading_answers import TOOLS, Case, corpus, joined, read, run

CALL = '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>'
PARIS = ("get_weather", {"city": "Paris"})
LIMIT = 64 * 1024


@pytest.mark.parametrize("case", corpus("calls"), ids=lambda case: case.name)
def test_a_call_written_as_text_becomes_a_call(case: Case) -> None:
    for parts in ([case.text], case.text):
        answer = read(parts)

        assert answer.calls == case.calls
        assert (answer.shown, answer.thought) == (case.shown, case.thought)
        assert answer.finish == "tool_calls"


@pytest.mark.parametrize("case", corpus("traps"), ids=lambda case: case.name)
def test_what_only_looks_like_a_call_or_a_thought_stays_as_it_is(case: Case) -> None:
    for parts in ([case.text], case.text):
        answer = read(parts, case.tools)

        assert answer.shown == case.shown
        assert (answer.thought, answer.calls, answer.finish) == ("", [], "stop")


@pytest.mark.parametrize("case", corpus("calls"), ids=lambda case: case.name)
def test_without_tools_no_call_is_recovered(case: Case) -> None:
    assert read([case.text], ()).calls == []


@pytest.mark.parametrize("case", corpus("calls"), ids=lambda case: case.name)
def test_a_call_of_another_tool_is_not_recovered(case: Case) -> None:
    answer = read([case.text], (ToolSpec("unrelated"),))

    assert (answer.calls, answer.finish) == ([], "stop")


def test_recovered_calls_have_ids_and_json_arguments() -> None:
    events = run(AnswerReader(TOOLS), [Text(CALL + CALL), Finish("stop")])
    calls = [event for event in events if isinstance(event, ToolCall)]

    assert [call.index for call in calls] == [0, 1]
    assert all(re.fullmatch(r"call_[0-9a-f]{24}", call.id) for call in calls)
    assert calls[0].id != calls[1].id
    assert json.loads(calls[0].arguments) == {"city": "Paris"}


def test_native_calls_pass_untouched_and_recovered_ones_follow_them() -> None:
    native = [ToolCall(3, "call_a", "search", '{"query":'), ToolCall(3, arguments='"x"}')]
    reader = AnswerReader(TOOLS)

    events = run(reader, [*native, Text(CALL), Finish("tool_calls")])

    assert events[:2] == native
    assert [event.index for event in events if isinstance(event, ToolCall)] == [3, 3, 4]


def test_a_native_call_is_not_mixed_with_a_recovered_one_of_its_index() -> None:
    native = [ToolCall(0, "call_a", "search", "{"), ToolCall(0, arguments="}")]

    events = run(AnswerReader(TOOLS), [Text(CALL), *native, Finish("stop")])

    assert joined(events)[2] == [PARIS, ("search", {})]


def test_a_call_told_in_both_ways_is_made_once() -> None:
    native = ToolCall(0, "call_a", "get_weather", '{ "city": "Paris" }')

    events = run(AnswerReader(TOOLS), [native, Text(CALL), Finish("stop")])

    assert [event for event in events if isinstance(event, ToolCall)] == [native]


@pytest.mark.parametrize("reason", ["length", "content_filter", "tool_calls"])
def test_only_a_stop_becomes_tool_calls(reason: str) -> None:
    finish = Finish(reason, "box", "model")  # type: ignore[arg-type]  # parametrised

    assert run(AnswerReader(TOOLS), [Text(CALL), finish])[-1] == finish


def test_what_is_held_comes_before_the_finish() -> None:
    events = run(AnswerReader(TOOLS), [Text('<tool_call>{"name'), Finish("length")])

    assert events == [Text('<tool_call>{"name'), Finish("length")]


def test_a_call_is_held_back_while_text_before_it_is_shown() -> None:
    reader = AnswerReader(TOOLS)

    assert list(reader.feed(Text("Wait. <tool_c"))) == [Text("Wait. ")]
    assert list(reader.feed(Text('all>{"name": "get_weather"'))) == []
    call, *_ = reader.feed(Text(', "arguments": {"city": "Paris"}}</tool_call>'))
    assert isinstance(call, ToolCall)


def test_an_answer_in_json_is_shown_as_soon_as_its_first_key_is_none_of_a_call() -> None:
    reader = AnswerReader(TOOLS)

    assert list(reader.feed(Text('{"n'))) == []
    assert list(reader.feed(Text("umber"))) == [Text('{"number')]


@pytest.mark.parametrize(
    ("held", "following"),
    [
        ("[TOOL_CALLS]se", 'cret[ARGS]{"a'),
        ('{"name": "search", "arguments": {}}', " is a call"),
        ('```json\n{"name": "search", "arguments": {}}\n``', "`\nis a call"),
        ("<tool_call>sea", "l"),
        ("[sea", "l]"),
        ("functools", "."),
        ("to=func", "y"),
    ],
)
def test_what_turns_out_to_be_no_call_is_shown_at_once(held: str, following: str) -> None:
    reader = AnswerReader(TOOLS)

    assert list(reader.feed(Text(held))) == []
    assert list(reader.feed(Text(following))) == [Text(held + following)]


def test_blank_space_is_not_held_for_ever() -> None:
    reader = AnswerReader(TOOLS)

    assert list(reader.feed(Text(" " * 200))) == []
    assert list(reader.feed(Text(" " * 200))) == [Text(" " * 400)]


def test_a_call_that_grows_too_long_is_released_as_text() -> None:
    text = '<tool_call>{"name": "search", "arguments": {"query": "' + "x" * LIMIT
    reader = AnswerReader(TOOLS)

    given = [each for part in (text[:LIMIT], text[LIMIT:]) for each in reader.feed(Text(part))]

    assert "".join(event.text for event in given if isinstance(event, Text)) == text
    assert read([text, CALL]).calls == [PARIS]


def test_a_long_call_within_the_limit_is_recovered() -> None:
    query = "x" * (LIMIT - 200)
    text = f'<tool_call>{{"name": "search", "arguments": {{"query": "{query}"}}}}</tool_call>'

    assert read([text]).calls == [("search", {"query": query})]


def test_calls_are_no_longer_looked_for_after_too_many_that_were_none() -> None:
    text = "<tool_call>{}</tool_call> " * 64

    assert read([text, CALL]).calls == []
    assert read([text[:-27], CALL]).calls == [PARIS]


@pytest.mark.parametrize(
    "arguments",
    ["[1]", '"x"', "7", '{"city": NaN}', '{"city": 1e999}', '{"city": "\\ud800"}', "[" * 2000],
)
def test_arguments_that_are_no_object_of_json_make_no_call(arguments: str) -> None:
    text = f'<tool_call>{{"name": "get_weather", "arguments": {arguments}}}</tool_call>'
    answer = read([text])

    assert (answer.calls, answer.shown) == ([], text)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("{'query': 'it\\'s'}", "it's"),
        ("{query: 'x',}", "x"),
        ('{"query": True}', True),
        ("{'query': None}", None),
        ("{'query': [1, -2.5, 1e3,]}", [1, -2.5, 1000.0]),
        ("{'query': '\\ud83d\\ude00'}", "😀"),
        ("{'query': {'a': {}}}", {"a": {}}),
    ],
)
def test_nearly_json_is_read_behind_a_mark(written: str, value: object) -> None:
    answer = read([f"<tool_call>{{'name': 'search', 'arguments': {written}}}</tool_call>"])

    assert answer.calls == [("search", {"query": value})]


@pytest.mark.parametrize(
    "written", ["{'query': x}", "{'query': 01}", "{'query' 'x'}", "{'query': '\\q'}", "{'a': 1 2}"]
)
def test_what_could_be_read_in_two_ways_makes_no_call(written: str) -> None:
    text = f"<tool_call>{{'name': 'search', 'arguments': {written}}}</tool_call>"

    assert read([text]).shown == text


def test_nearly_json_is_not_read_where_no_mark_says_that_a_call_is_meant() -> None:
    text = "{'name': 'search', 'arguments': {'query': 'x'}}"

    assert read([text]).shown == text


@pytest.mark.parametrize(
    ("schema", "written", "value"),
    [
        ({"type": "string"}, "7", "7"),
        ({"type": "integer"}, "7", 7),
        ({"type": "boolean"}, "True", True),
        ({"type": ["string", "null"]}, "null", None),
        ({"anyOf": [{"type": "array"}, {"type": "null"}]}, '["a"]', ["a"]),
        ({"enum": ["1", "2"]}, "1", "1"),
        ({"type": "integer"}, "many", "many"),
        ({}, '{"a": 1}', {"a": 1}),
        ({}, "words", "words"),
    ],
)
def test_a_parameter_is_read_as_the_schema_of_its_tool_declares_it(
    schema: dict[str, object], written: str, value: object
) -> None:
    tool = ToolSpec("f", parameters={"type": "object", "properties": {"x": schema}})
    text = f"<function=f>\n<parameter=x>\n{written}\n</parameter>\n</function>"

    assert read([text], (tool,)).calls == [("f", {"x": value})]
