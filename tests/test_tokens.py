"""Estimates of a prompt's tokens, and what answers teach about them."""

import random
import re
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.runtime.backends.embedded_server import EmbeddedServer
from portal.runtime.ops.schema import Embedded
from portal.runtime.windows.calibration import LEAST, MOST, WORTH, Calibration
from portal.runtime.windows.tokens import (
    IMAGE_TOKENS,
    counter,
    estimate,
    least,
    likely,
    lower_bound,
    upper_bound,
)
from portal.shared.messages import ImagePart, Message, TextPart, ToolCallPart
from portal.shared.turns import ToolSpec

KEY = ("ollama", "qwen2.5:7b")
PROSE = (
    "It was late in the evening when the train finally pulled into the station, and the few "
    "passengers who were left stepped down onto the platform without saying a word. Somebody had "
    "forgotten an umbrella on the seat; the conductor picked it up and put it under his arm.\n\n"
)
TEXTS = {
    "english": PROSE,
    "german": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Bitte hilf mir.",
    "chinese": "人人生而自由，在尊严和权利上一律平等。昨天下午我去超市买了一些水果和蔬菜。",  # noqa: RUF001
    "japanese": "すべての人間は、生まれながらにして自由であり、尊厳と権利とについて平等である。",
    "russian": "Все люди рождаются свободными и равными в своем достоинстве и правах.",  # noqa: RUF001
    "hindi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता प्राप्त है।",
    "code": "def add(left: int, right: int) -> int:\n    return left + right\n\nprint(add(1, 2))\n",
    "numbers": "3.14159,2.71828,1.41421,0.57721\n1024,4096,65536,16777216\n",
    "emoji": "🎉🎉 so happy 😀 let's go 🚀 👨‍👩‍👧‍👦 🇩🇪",
}
TOOL = ToolSpec(
    "get_weather",
    "Tell the weather of a city",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    },
)
CALL = Message(
    "assistant", tool_calls=(ToolCallPart("call_1", "get_weather", '{"city": "Ulm", "days": 3}'),)
)
texts = st.text(st.characters(codec="utf-8"), max_size=200)
messages = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant", "tool"]), texts), max_size=6
)


def user(text: str) -> list[Message]:
    return [Message("user", text)]


@given(texts, st.randoms(use_true_random=False))
def test_no_split_of_a_text_into_tokens_of_a_byte_or_more_is_over_the_upper_bound(
    text: str, chance: random.Random
) -> None:
    data = text.encode()
    cuts = sum(chance.random() < 0.9 for _ in data)
    assert cuts <= upper_bound(user(text)) - upper_bound(user(""))


def test_a_text_that_grows_when_it_is_normalized_is_bounded_by_what_it_grows_to() -> None:
    text = "\u0958" * 100  # composed, but NFC writes it as two characters
    assert upper_bound(user(text)) - upper_bound(user("")) == 600


@given(texts, st.randoms(use_true_random=False))
def test_no_split_that_keeps_words_apart_is_under_the_lower_bound(
    text: str, chance: random.Random
) -> None:
    no_cjk = "".join(each for each in text if not "\u3000" <= each <= "\u9fff")
    # A space beyond ASCII is a token, or a part of one.
    words = re.split(r"[\t-\r\x1c-\x20]+", no_cjk)
    tokens = sum(1 + chance.randrange(2) for word in words if word)
    assert least(no_cjk) <= tokens


def test_runs_of_spaces_signs_or_base64_do_not_raise_the_lower_bound() -> None:
    assert least(" " * 5000 + "=" * 5000 + "\n" * 5000 + "QUJD" * 5000) == 2


def test_text_without_spaces_is_bounded_below_by_its_cjk_characters() -> None:
    assert least("平等" * 400) == 200


@given(messages, st.booleans())
def test_the_three_figures_keep_their_order(found: list[Message], offered: bool) -> None:
    tools = (TOOL,) if offered else ()
    assert lower_bound(found) <= upper_bound(found, tools)
    assert estimate(found, tools) <= upper_bound(found, tools)


def test_thoughts_of_earlier_answers_are_not_in_the_lower_bound() -> None:
    thought = Message("assistant", "<think>one two three</think> four")
    assert lower_bound([thought]) == 1
    assert lower_bound(user("<think>one two three</think> four")) == 4


@pytest.mark.parametrize(
    ("kind", "counts"),
    [
        # As Llama 3, Qwen and Mistral's Tekken count the text ten times over.
        ("english", (530, 530, 540)),
        ("german", (210, 210, 200)),
        ("chinese", (340, 220, 370)),
        ("japanese", (240, 220, 270)),
        ("russian", (220, 210, 210)),
        ("code", (270, 270, 270)),
    ],
)
def test_the_estimate_is_near_what_common_vocabularies_count(
    kind: str, counts: tuple[int, ...]
) -> None:
    found = likely((TEXTS[kind] * 10).encode())
    assert all(0.8 * count <= found <= 1.6 * count for count in counts)


@pytest.mark.parametrize("kind", TEXTS)
def test_the_estimate_lies_between_the_bounds_for_every_script(kind: str) -> None:
    found = user(TEXTS[kind] * 20)
    assert lower_bound(found) <= estimate(found) <= upper_bound(found)


@given(messages, messages, st.floats(LEAST, MOST))
def test_a_counter_is_additive(left: list[Message], right: list[Message], factor: float) -> None:
    count = counter((TOOL,), factor=factor)
    assert count(left + right) == count(left) + count(right) - count(())


def test_the_factor_scales_text_and_template_but_not_images() -> None:
    picture = [Message("user", (TextPart(PROSE), ImagePart("data:image/png;base64,AAAA")))]
    plain = estimate(picture) - IMAGE_TOKENS
    doubled = estimate(picture, factor=2.0) - IMAGE_TOKENS
    assert doubled == pytest.approx(2 * plain, abs=2)


@pytest.mark.parametrize("figure", [upper_bound, estimate])
def test_an_image_counts_as_a_constant_whatever_its_bytes(figure: Any) -> None:
    def with_image(url: str, **options: int) -> int:
        return int(figure([Message("user", (ImagePart(url),))], **options))

    small, large = with_image("https://host/a.png"), with_image("data:;base64," + "A" * 10**6)
    assert small == large
    assert with_image("x", image_tokens=100) == small - IMAGE_TOKENS + 100


@pytest.mark.parametrize("figure", [upper_bound, estimate])
def test_tools_and_calls_count(figure: Any) -> None:
    plain = figure(user("hi"))
    with_one, with_two = figure(user("hi"), [TOOL]), figure(user("hi"), [TOOL, TOOL])
    assert plain < with_one < with_two
    assert figure([CALL]) > figure([Message("assistant", "")])


def test_the_upper_bound_covers_what_templates_write_of_tools_and_calls() -> None:
    spec = {"type": "function", "function": msgspec.to_builtins(TOOL)}
    indented = msgspec.json.format(msgspec.json.encode(spec), indent=4)
    assert upper_bound([], [TOOL]) - upper_bound([]) > len(indented)
    tagged = "<parameter=city>\nUlm\n</parameter>\n<parameter=days>\n3\n</parameter>\n"
    assert upper_bound([CALL]) - upper_bound([Message("assistant", "")]) > len(tagged)
    html = ToolCallPart("", "write", '{"html": "' + "<&" * 50 + '"}')
    escaped = "\\u003c\\u0026" * 50
    assert upper_bound([Message("assistant", tool_calls=(html,))]) > len(escaped)


def test_an_unpaired_surrogate_is_measured_like_any_character() -> None:
    broken = user("\ud83d")
    assert lower_bound(broken) <= estimate(broken) <= upper_bound(broken)


def test_a_model_that_never_answered_has_the_factor_1() -> None:
    assert Calibration().factor(KEY) == 1.0


def test_one_answer_raises_the_factor_at_once() -> None:
    calibration = Calibration()
    calibration.learn(KEY, 1000, 1600)
    assert calibration.factor(KEY) == 1.6
    assert calibration.factor(("ollama", "other")) == 1.0


def test_the_factor_falls_only_after_several_answers() -> None:
    calibration = Calibration()
    factors = []
    for _ in range(4):
        calibration.learn(KEY, 1000, 800)
        factors.append(calibration.factor(KEY))
    assert factors == [1.0, 1.0, 1.0, 0.8]


def test_the_factor_never_falls_below_its_careful_bound() -> None:
    calibration = Calibration()
    for _ in range(50):
        calibration.learn(KEY, 1000, 510)
    assert calibration.factor(KEY) == LEAST


def test_counts_of_cached_prompts_do_not_lower_the_factor() -> None:
    calibration = Calibration()
    for counted in (1100, 12, 40, 0, 1100, 300, 499, 1100, 25, 1100, 480):
        calibration.learn(KEY, 1000, counted)
    assert calibration.factor(KEY) == 1.1


def test_prompts_cached_by_less_than_half_lower_it_no_further_than_the_whole_ones() -> None:
    calibration = Calibration()
    for counted in (1200, 600, 700, 1200, 550, 1200, 650, 800):
        calibration.learn(KEY, 1000, counted)
    assert calibration.factor(KEY) == 1.2


def test_lone_outliers_do_not_move_the_factor() -> None:
    calibration = Calibration()
    for counted in (1000, 1000, 3900, 1000, 1000, 1000, 1000):
        calibration.learn(KEY, 1000, counted)
    assert calibration.factor(KEY) == 1.0


@pytest.mark.parametrize(
    ("estimated", "counted"), [(WORTH - 1, WORTH * 3), (1000, 4001), (1000, -5), (0, 0), (-1, -1)]
)
def test_what_proves_nothing_is_not_learnt_from(estimated: int, counted: int) -> None:
    calibration = Calibration()
    calibration.learn(KEY, estimated, counted)
    assert calibration.factor(KEY) == 1.0


def test_a_model_that_changed_is_learnt_anew() -> None:
    calibration = Calibration()
    for counted in (2000,) * 30 + (1000,) * 16:
        calibration.learn(KEY, 1000, counted)
    assert calibration.factor(KEY) == 1.0


def test_the_model_that_learnt_longest_ago_is_forgotten() -> None:
    calibration = Calibration(kept=2)
    for name in ("a", "b", "a", "c"):
        calibration.learn(("hostile", name), 1000, 2000)
    assert [calibration.factor(("hostile", name)) for name in "abc"] == [2.0, 1.0, 2.0]


@given(st.lists(st.tuples(st.integers(-10, 10**6), st.integers(-10, 10**7)), max_size=60))
def test_the_factor_stays_within_its_bounds(answers: list[tuple[int, int]]) -> None:
    calibration = Calibration()
    for estimated, counted in answers:
        calibration.learn(KEY, estimated, counted)
        assert LEAST <= calibration.factor(KEY) <= MOST


@pytest.mark.integration
async def test_the_embedded_models_own_counts_lie_between_the_bounds(tmp_path: Path) -> None:
    server = EmbeddedServer(Embedded(context_window=4096), tmp_path)
    try:
        lease = await server.lease()
        headers = {"authorization": f"Bearer {lease.api_key}"}
        async with httpx.AsyncClient(
            base_url=lease.url, headers=headers, timeout=120.0, trust_env=False
        ) as http:
            for text in TEXTS.values():
                body = {"messages": [{"role": "user", "content": text * 3}], "max_tokens": 1}
                reply = (await http.post("/v1/chat/completions", json=body)).raise_for_status()
                counted = reply.json()["usage"]["prompt_tokens"]
                found = user(text * 3)
                assert lower_bound(found) <= counted <= upper_bound(found), text
    finally:
        await server.aclose()
