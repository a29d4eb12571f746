"""The classifier: its quality on labelled prompts, its traps, its bounds."""

import importlib
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.runtime.classifier import lexicon, shapes, signals
from portal.runtime.classifier.classifier import classify
from portal.shared.decisions import Classification
from portal.shared.messages import ImagePart, Message, TextPart
from tests.checkout import ROOT
from tests.doc_tables import Table, renewed
from tests.prompts import (
    ROUTES,
    Judged,
    judged,
    labelled,
    precision,
    recall,
    route_accuracy,
    route_of,
    split_of,
)
from tests.prompts.report import TABLES

LEAST_HELD = 0.90
LEAST_OF_A_ROUTE = 0.85
ANY_TEXT = st.text(st.characters(codec=None), max_size=400)  # lone surrogates too
PIECES = st.sampled_from(
    [
        "```",
        "def f(",
        " ",
        "\n",
        ".",
        "?",
        "1, ",
        "SELECT ",
        "taller than ",
        '"',
        "(",
        "=",
        "x^",
        "a_",
    ]
)


def _asked(text: str, *before: str, tools: bool = False) -> Classification:
    """Classify the last of texts said in turn."""
    said = [*before, text]
    messages = [Message("assistant" if at % 2 else "user", each) for at, each in enumerate(said)]
    return classify(messages, tools=tools)


@pytest.fixture(scope="module")
def rows() -> list[Judged]:
    return judged(labelled())


def test_the_held_back_third_is_sent_where_it_belongs(rows: list[Judged]) -> None:
    held = [row for row in rows if row.prompt.split == "held"]

    assert route_accuracy(held) >= LEAST_HELD
    for route in ROUTES:
        assert recall(held, route) >= LEAST_OF_A_ROUTE, route
        assert precision(held, route) >= LEAST_OF_A_ROUTE, route


def test_the_prompts_written_after_the_rules_are_sent_where_they_belong(rows: list[Judged]) -> None:
    fresh = [row for row in rows if row.prompt.split == "fresh"]

    assert route_accuracy(fresh) >= LEAST_HELD


def test_hardly_any_trap_snaps(rows: list[Judged]) -> None:
    traps = [row for row in rows if row.prompt.trap]

    assert len(traps) >= 150
    assert route_accuracy(traps) >= 0.95


def test_who_is_surer_is_more_often_right(rows: list[Judged]) -> None:
    sure = [row for row in rows if row.found.confidence >= 0.75]
    unsure = [row for row in rows if row.found.confidence < 0.75]

    assert route_accuracy(sure) > route_accuracy(unsure)


def test_the_set_was_split_by_the_hash_of_its_ids_before_there_were_rules() -> None:
    first = [prompt for prompt in labelled() if prompt.split != "fresh"]

    assert len(first) >= 450
    assert [each.id for each in first if each.split != split_of(each.id)] == []


def test_every_labelled_prompt_is_there_once_and_labelled_soundly() -> None:
    prompts = labelled()

    assert [name for name, count in Counter(each.id for each in prompts).items() if count > 1] == []
    asked = Counter((each.text, each.image, each.before) for each in prompts)
    assert [text for text, count in asked.items() if count > 1] == []
    assert [each.id for each in prompts if each.image != (each.route == "vision")] == []
    assert [each.id for each in prompts if (each.round > 0) != (each.split == "fresh")] == []


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_the_page_shows_what_is_measured(table: Table) -> None:
    text = (ROOT / table.page).read_text(encoding="utf-8")

    assert text == renewed(table, text), "run `python -m tests.prompts.report --write`"


@pytest.mark.parametrize(
    ("text", "route", "category"),
    [
        ("I have 3 cats, ideas for names?", "other", "creative"),
        ("get me a good book for the train", "other", None),
        ("which language should my kid learn first?", "other", "question"),
        ("why does my loop never end?", "code", "code"),
        ("my class starts at 9", "other", None),
        ("A python bit me at the zoo", "other", None),
        ("what is the function of the liver?", "other", "question"),
        (
            'Translate this error into German: "Segmentation fault (core dumped)"',
            "other",
            "translation",
        ),
        ("Translate this function from Python to Rust:\n\ndef f(x):\n    return x", "code", "code"),
        ("write a poem about a segmentation fault", "other", "creative"),
        ("write a poem generator in Python", "code", "code"),
        ("prove me wrong", "other", None),
        ("solve this argument with my wife", "other", None),
        ("Prove that there are infinitely many primes", "reasoning", "math"),
        ("what's 15% of 80", "other", "math"),
        ("hello!", "other", "greeting"),
        ("remind me to call mum at six", "other", "tool_use"),
        ("tl;dr: the meeting is moved to Friday, bring your reports", "other", "summarization"),
    ],
)
def test_what_it_looks_like_is_not_what_it_is(text: str, route: str, category: str | None) -> None:
    found = _asked(text)

    assert route_of(found) == route
    assert category in (None, found.category)


def test_a_short_message_goes_on_with_what_was_asked_before() -> None:
    code = ("how do I sort a list in Python", "Use `sorted(rows)`.")

    assert "code" in _asked("and now in Rust?", *code).needs
    assert "code" in _asked("shorter please", *code, "and backwards?", "`rows[::-1]`").needs
    assert _asked("and now in Rust?").category != "creative"


@pytest.mark.parametrize(
    "text", ["thanks!", "what's for dinner tonight?", "my dog is ill, what now?"]
)
def test_a_new_subject_does_not_inherit_the_old_one(text: str) -> None:
    assert "code" not in _asked(text, "how do I sort a list in Python", "`sorted(rows)`").needs


def test_a_text_of_its_own_kind_keeps_it_whatever_came_before() -> None:
    found = _asked("Now write a poem about the sea", "fix my SQL query", "SELECT 1;")

    assert found.category == "creative"


def test_an_image_anywhere_needs_vision_and_sent_tools_need_calling() -> None:
    seen = Message("user", (TextPart("look"), ImagePart("https://example.org/a.png")))
    later = [seen, Message("assistant", "a bird"), Message("user", "fix my Python function")]

    assert classify([seen]).needs == ("vision",)
    assert classify(later, tools=True).needs == ("code", "vision", "function_calling")
    assert classify([Message("user", "what is in this picture?")]).needs == ()


def test_no_messages_at_all_are_a_general_question() -> None:
    assert classify([]).category == "general"
    assert classify([Message("system", "You write Python.")]).category == "general"


@pytest.mark.parametrize(
    ("easy", "hard"),
    [
        ("hi", "How does a vaccine work?"),
        ("who wrote Hamlet?", "Compare renting and buying a flat"),
        ("how to exit vim", "Write a lock-free queue in C++ and explain every memory order"),
        ("2 + 2", "Prove that every finite group of prime order is cyclic"),
    ],
)
def test_more_work_is_more_complex(easy: str, hard: str) -> None:
    levels = ("trivial", "simple", "moderate", "complex", "expert")

    assert levels.index(_asked(easy).complexity) < levels.index(_asked(hard).complexity)


def test_it_says_by_what_it_was_told() -> None:
    assert "“in python”" in " ".join(_asked("how do I sort a list in Python").signals)
    assert _asked("hi").signals == ("a greeting",)
    assert "tools were sent" in _asked("how are you?", tools=True).signals


@given(st.lists(ANY_TEXT | st.lists(PIECES, max_size=200).map("".join), max_size=4))
def test_any_conversation_is_classified_soundly_and_always_the_same(texts: list[str]) -> None:
    messages = [Message("assistant" if at % 2 else "user", each) for at, each in enumerate(texts)]
    found = classify(messages)

    assert found == classify(messages)
    assert 0.5 <= found.confidence <= 1.0
    assert found.tokens >= sum(len(each.encode("utf-8", "surrogatepass")) for each in texts)


@pytest.mark.parametrize("letter", ["a", "ä", "日", "😀", "\ud800", "ﷺ"])
def test_the_bound_of_tokens_holds_for_long_texts_too(letter: str) -> None:
    text = letter * 30_000
    messages = [Message("user", text), Message("user", (TextPart(text), ImagePart("data:,x")))]

    assert classify(messages).tokens >= 2 * len(text.encode("utf-8", "surrogatepass")) + 1


def test_only_the_ends_of_a_text_are_looked_at() -> None:
    ends = "How do I sort this in Python?\n" + " " * signals.HEAD, " " * signals.TAIL + "end"
    long = [ends[0] + middle * 100_000 + ends[1] for middle in ("((", "prove that ", "x^2 = ")]

    assert signals.read(long[0]) == signals.read(long[1]) == signals.read(long[2])
    assert len(signals.read("word " * 100_000).words) <= signals.TOKENS


def _patterns() -> Iterator[re.Pattern[str]]:
    for module in (shapes, signals, lexicon):
        waiting: list[Any] = list(vars(module).values())
        while waiting:
            match waiting.pop():
                case re.Pattern() as pattern:
                    yield pattern
                case tuple() as several:
                    waiting += several


def _repeats(tree: Any, within: int = 1) -> Iterator[int]:
    """Walk a parsed pattern: how many ways each repeat may try a text, with those around it."""
    for operation, argument in tree:
        ways = within
        if str(operation) in ("MAX_REPEAT", "MIN_REPEAT"):
            least, most, inner = argument
            ways = within * (1 if least == most else min(int(most), 10_000))
            yield ways
            yield from _repeats(inner, ways)
            continue
        for each in argument if isinstance(argument, (tuple, list)) else (argument,):
            for part in each if isinstance(each, (tuple, list)) else (each,):
                if type(part).__name__ == "SubPattern":
                    yield from _repeats(part, ways)
        if type(argument).__name__ == "SubPattern":
            yield from _repeats(argument, ways)
    return


def test_no_pattern_can_backtrack_catastrophically() -> None:
    parser: Any = importlib.import_module("re._parser")
    found = list(_patterns())
    nested = {
        pattern.pattern: max(_repeats(parser.parse(pattern.pattern)), default=1)
        for pattern in found
    }

    assert len(found) > 30
    assert {text: ways for text, ways in nested.items() if ways > 10_000} == {}


def test_every_entry_of_the_lexicon_is_found_where_it_stands() -> None:
    missed = []
    for group, entry, weight in lexicon.entries():
        found = lexicon.matches(lexicon.words(lexicon.fold(entry.rstrip("*"))))
        if weight and entry not in {match.entry for match in found.get(group, ())}:
            missed.append((group, entry))

    assert missed == []


def test_no_entry_of_the_lexicon_stands_twice_or_is_too_short_a_stem() -> None:
    entries = [(group, entry) for group, entry, _ in lexicon.entries()]
    short = [
        entry
        for _, entry in entries
        if entry.endswith("*") and " " not in entry and len(entry) <= lexicon.STEM
    ]

    assert [each for each, count in Counter(entries).items() if count > 1] == []
    assert short == []


def test_words_match_through_case_accents_plurals_and_apostrophes() -> None:
    def groups(text: str) -> set[str]:
        return set(lexicon.matches(lexicon.words(lexicon.fold(text))))

    assert "code" in groups("DATABASES") & groups("Régulärer Ausdruck")
    assert "trouble" in groups("it doesn't work") & groups("it doesn\u2019t work")
    assert "code" in groups("pythonでCSVを読む")
    assert "code" not in groups("the dress code is casual")
