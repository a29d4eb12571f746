"""What holds for every text, however it comes."""

from collections.abc import Sequence

from hypothesis import example, given, settings
from hypothesis import strategies as st

from portal.runtime.answers import dialects
from portal.runtime.answers.pieces import Kind, Piece
from portal.runtime.answers.reading import AnswerReader
from portal.runtime.answers.scanner import Scanner
from portal.runtime.answers.thinking import marks
from portal.shared.turns import Finish, ModelEvent, Text, ToolCall, Usage
from tests.reading_answers import TOOLS, corpus, cut, read, run

CASES = [case for name in ("calls", "thoughts", "traps") for case in corpus(name)]
WORDS = [
    *("a", "Hi. ", " ", "\n", "\n\n", "`", "```", "~~~", "{", "}", "[", "]", '"', "<", "◁", "\\"),
    *("json", "tool_code", "get_weather", '(city="x")', "functools", "<|message|>", "analysis"),
    *("final", " to=functions.search", "</function>", "<parameter=x>", "</parameter>", "[ARGS]"),
    *('{"name": "search", "arguments": {"query": "x"}}', "search>", "<arg_key>", "\ud800", "é"),
    *marks(calls=True).roles,
    *(marked.closer for marked in dialects.TAGGED.values()),
]
mixtures = st.lists(st.sampled_from(WORDS), max_size=14).map("".join)


@st.composite
def mutilated(draw: st.DrawFn) -> str:
    """Give a text of the corpus with something taken out and something put in."""
    text: str = draw(st.sampled_from(CASES)).text
    start = draw(st.integers(0, len(text)))
    length = draw(st.integers(0, 6))
    return text[:start] + draw(st.sampled_from(["", *WORDS])) + text[start + length :]


texts = st.one_of(mixtures, mutilated(), st.text(max_size=40))
places = st.lists(st.integers(0, 400), max_size=60)


def pieces(parts: Sequence[str]) -> list[Piece]:
    scanner = Scanner(TOOLS)
    return [*(piece for part in parts for piece in scanner.feed(part)), *scanner.end()]


@settings(max_examples=400, deadline=None)
@given(text=texts, at=places, offered=st.booleans(), inside=st.booleans())
@example(text="x`</think>", at=[2], offered=True, inside=True)
@example(text="a``\n<think>\n", at=[2], offered=True, inside=False)
def test_a_text_is_read_the_same_however_it_is_cut(
    text: str, at: list[int], offered: bool, inside: bool
) -> None:
    tools = TOOLS if offered else ()
    whole = read([text], tools, starts_in_thought=inside)

    assert read(cut(text, at), tools, starts_in_thought=inside) == whole
    assert read(text, tools, starts_in_thought=inside) == whole


@settings(max_examples=400, deadline=None)
@given(text=texts, at=places)
def test_nothing_of_a_text_is_lost(text: str, at: list[int]) -> None:
    assert "".join(piece.source for piece in pieces(cut(text, at))) == text


@settings(max_examples=300, deadline=None)
@given(text=texts)
def test_only_marks_and_the_blank_space_beside_them_are_hidden(text: str) -> None:
    for piece in pieces([text]):
        if piece.kind is Kind.FRAME and piece.source.strip():
            roles = marks(calls=True).roles
            assert any(mark in piece.source for mark in roles)
        assert bool(piece.calls) == (piece.kind is Kind.CALL)


@settings(max_examples=300, deadline=None)
@given(text=texts)
def test_only_offered_tools_are_called(text: str) -> None:
    names = {tool.name for tool in TOOLS}

    assert {name for name, _ in read([text]).calls} <= names


@settings(max_examples=200, deadline=None)
@given(text=st.text(alphabet=st.characters(exclude_characters="<[◁{`tf")))
def test_text_without_a_sign_is_given_as_it_is(text: str) -> None:
    assert read(text).shown == text


def test_text_that_can_begin_nothing_is_given_as_the_very_event() -> None:
    reader = AnswerReader(TOOLS)
    run(reader, [])
    reader.feed(Text("Hello"))
    events = [Text(" world"), Text(".\n"), Text("\n"), Text("And so on")]

    given_back = [reader.feed(event) for event in events]

    assert all(back[0] is event for back, event in zip(given_back, events, strict=True))


def test_other_events_pass_while_text_is_held_back() -> None:
    reader = AnswerReader(TOOLS)
    reader.feed(Text("<tool_"))
    usage = Usage(1, 2)

    assert list(reader.feed(usage)) == [usage]
    assert list(reader.feed(Finish("stop"))) == [Text("<tool_"), Finish("stop")]
    assert list(reader.end()) == []


def test_events_of_nothing_change_nothing() -> None:
    for case in CASES:
        parts = [each for part in case.text for each in ("", part, "")]

        assert read(parts, case.tools, starts_in_thought=case.starts_in_thought) == read(
            [case.text], case.tools, starts_in_thought=case.starts_in_thought
        )


def test_a_reader_without_a_finish_gives_all_at_the_end() -> None:
    events: list[ModelEvent] = [Text('{"name": "search", "arguments": {"query": "x"}}')]

    assert [type(event) for event in run(AnswerReader(TOOLS), events)] == [ToolCall]


def test_the_corpus_is_large_enough_to_mean_something() -> None:
    assert len(CASES) >= 100
    assert len({case.name for case in corpus("calls")}) >= 50
