"""Asking a small model what kind of question it is: the prompt, and what is made of the answer."""

from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.runtime.classifier.classifier import (
    MODEL_SCHEMA,
    SHOWN,
    model_messages,
    read_model_answer,
)
from portal.shared.decisions import Category, Classification, Complexity
from portal.shared.messages import ImagePart, Message, TextPart

RULES = Classification("general", "simple", ("vision", "function_calling"), tokens=321)
GOOD = '{"category": "analysis", "complexity": "complex", "needs": ["reasoning"]}'


def test_the_model_is_shown_the_last_question_and_the_kinds_there_are() -> None:
    system, user = model_messages([Message("user", "first"), Message("user", "why is it blue?")])

    assert system.role == "system"
    assert all(category in system.text for category in get_args(Category))
    assert all(complexity in system.text for complexity in get_args(Complexity))
    assert user.role == "user"
    assert "why is it blue?" in user.text
    assert "first" not in user.text


def test_a_long_question_is_shown_by_its_ends_and_an_image_not_at_all() -> None:
    text = "begin " + "x" * 1_000_000 + " end"
    parts = (TextPart(text), ImagePart("data:image/png;base64,AAAA"))
    _, user = model_messages([Message("user", parts)])

    assert len(user.text) < 2 * SHOWN + 100
    assert "begin" in user.text
    assert user.text.endswith(" end")
    assert "base64" not in user.text


def test_the_schema_allows_exactly_the_kinds_there_are() -> None:
    properties = MODEL_SCHEMA["properties"]

    assert tuple(properties["category"]["enum"]) == get_args(Category)
    assert tuple(properties["complexity"]["enum"]) == get_args(Complexity)
    assert set(MODEL_SCHEMA["required"]) == set(properties)
    msgspec.json.encode(MODEL_SCHEMA)


def test_an_answer_is_taken_over_beside_the_facts() -> None:
    found = read_model_answer(GOOD, RULES)

    assert found is not None
    assert (found.category, found.complexity, found.by) == ("analysis", "complex", "model")
    assert found.needs == ("reasoning", "vision", "function_calling")
    assert found.tokens == 321


def test_a_model_overrules_the_rules_but_cannot_make_up_an_image() -> None:
    rules = Classification("code", "simple", ("code",))
    said = '{"category": "creative", "complexity": "simple", "needs": ["vision"]}'
    found = read_model_answer(said, rules)

    assert found is not None
    assert found.needs == ()


@pytest.mark.parametrize("category", ["code", "math"])
def test_a_kind_that_is_a_need_needs_it(category: str) -> None:
    said = f'{{"category": "{category}", "complexity": "simple", "needs": []}}'
    found = read_model_answer(said, Classification("general", "simple"))

    assert found is not None
    assert found.needs == (category,)


@pytest.mark.parametrize(
    "text", [f"```json\n{GOOD}\n```", f"Sure! {GOOD} Anything else?", f"  {GOOD}"]
)
def test_talk_around_the_answer_is_passed_over(text: str) -> None:
    assert read_model_answer(text, RULES) == read_model_answer(GOOD, RULES)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "code",
        "}{",
        "[]",
        "{}",
        GOOD[:-3],
        GOOD + GOOD,
        '{"category": "poem", "complexity": "simple", "needs": []}',
        '{"category": "code", "complexity": "hard", "needs": []}',
        '{"category": "code", "complexity": "simple", "needs": ["speed of light"]}',
        '{"category": "code", "complexity": "simple", "needs": "code"}',
        '{"category": "code", "complexity": "simple"}',
        '{"category": null, "complexity": "simple", "needs": []}',
        '{"a":' * 5000 + "}" * 5000,
        '{"category": "\ud800"}',
    ],
)
def test_a_malformed_answer_is_none(text: str) -> None:
    assert read_model_answer(text, RULES) is None


@given(st.text(st.characters(codec=None), max_size=200))
def test_no_answer_raises(text: str) -> None:
    read_model_answer(text, RULES)
