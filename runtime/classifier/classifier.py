"""What kind of question a conversation asks, and what its model should be good at. Pure.

`classify` reads rules alone: under a millisecond, whatever the length. Its judgement of a text is
in `judgement.py`; here are the conversation around it, the images, and the words for asking a
small model instead (`MODEL_SCHEMA`, `model_messages`, `read_model_answer`), which the caller runs.
How good it is, measured: `docs/classifier.md`.
"""

from collections.abc import Iterable, Sequence
from typing import Any, get_args

import msgspec

from portal.runtime.classifier import words_tasks
from portal.runtime.classifier.judgement import SURE, Judgement, judge
from portal.runtime.classifier.signals import Signals, read
from portal.runtime.windows.tokens import upper_bound
from portal.shared.decisions import Category, Classification, Complexity
from portal.shared.messages import ImagePart, Message, Part, TextPart
from portal.shared.models import Capability

LONGEST_CONTINUATION = 14
"""Words of a message that may go on with what was said before."""
LOOKED_BACK = 2
"""Earlier questions that are looked at to understand one that goes on."""
EARLIER = 500
"""Characters of each of them that are read."""
COUNTED = 20_000
"""Characters beyond ASCII that are counted by their bytes; of what is more, the bound is taken from
the length, since encoding a megabyte takes longer than everything else here."""
MOST_BYTES = 4
"""Of a character in UTF-8, which is what a tokenizer makes a token of at least."""
SHOWN = 1_500
"""Characters of a long message's beginning and of its end that a model is shown."""

SAID = 0.8
"""Confidence in what a model says: small ones do not know how sure they are."""

MODEL_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "category": {"type": "string", "enum": list(get_args(Category))},
        "complexity": {"type": "string", "enum": list(get_args(Complexity))},
        "needs": {
            "type": "array",
            "items": {"type": "string", "enum": ["code", "math", "reasoning"]},
            "maxItems": 3,
        },
    },
    "required": ["category", "complexity", "needs"],
    "additionalProperties": False,
}
"""What a model that classifies answers with, as JSON."""

_CONTINUES = frozenset(words_tasks.CONTINUES.split())
_CONTINUE_WITH = frozenset(words.strip() for words in words_tasks.CONTINUE_WITH.split(","))
_ORDER: tuple[Capability, ...] = get_args(Capability)
_ASKABLE: frozenset[Capability] = frozenset(("code", "math", "reasoning"))
_INSTRUCTION = """\
You sort messages for a router. Do not answer the message; say what kind it is, as JSON with:
category: greeting, question, code, math, creative, analysis, translation, summarization, tool_use \
(asks to act: search the web, switch, send, remind) or general;
complexity: trivial, simple, moderate, complex or expert;
needs: code (to write, explain or repair programs), math (to calculate or prove), reasoning \
(puzzles, proofs, plans with constraints), several of them, or none.
Example: {"category": "code", "complexity": "moderate", "needs": ["code"]}"""


class _Answer(msgspec.Struct):
    category: Category
    complexity: Complexity
    needs: tuple[Capability, ...]


_decode = msgspec.json.Decoder(_Answer).decode


def classify(messages: Sequence[Message], *, tools: bool = False) -> Classification:
    """Classify the last user message, in the light of the conversation before it.

    `tools`: the client sent tools that the model may call. Bounded time; never raises.
    """
    asked = _asked(messages)
    shown = read(asked[0]) if asked else read("")
    found = judge(shown)
    if _goes_on(shown, found):
        found = _continued(asked[1 : 1 + LOOKED_BACK], found)
    seen = any(_has_image(message) for message in messages)
    signals = found.signals
    needs: set[Capability] = set()
    if seen:
        needs.add("vision")
        signals = ("an image", *signals)
    if tools:
        needs.add("function_calling")
        signals = (*signals, "tools were sent")
    needs.update(_wanted(found))
    return Classification(
        category=found.category,
        complexity=found.complexity,
        needs=_in_order(needs),
        tokens=_at_most(messages),
        confidence=_confidence(found),
        signals=signals,
    )


def model_messages(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Make the prompt for a model that classifies: what to do, and the bounded last message."""
    asked = _asked(messages)
    text = asked[0] if asked else ""
    if len(text) > 2 * SHOWN:
        text = f"{text[:SHOWN]}\n[…]\n{text[-SHOWN:]}"
    return Message("system", _INSTRUCTION), Message("user", f"The message:\n\n{text}")


def read_model_answer(text: str, base: Classification) -> Classification | None:
    """Take over what a model said, beside what is certain in `base`; None where it is malformed.

    Images, tools and tokens are facts, which no model is asked for.
    """
    start, end = text.find("{"), text.rfind("}")
    try:
        said = _decode(text[start : end + 1].encode("utf-8", "surrogatepass"))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    needs = {need for need in base.needs if need not in _ASKABLE}
    needs.update(need for need in said.needs if need in _ASKABLE)
    if said.category == "code" or said.category == "math":
        needs.add(said.category)
    return Classification(
        category=said.category,
        complexity=said.complexity,
        needs=_in_order(needs),
        tokens=base.tokens,
        confidence=SAID,
        signals=("a model said so",),
        by="model",
    )


def _asked(messages: Sequence[Message]) -> list[str]:
    """Collect the texts of the user's last messages, the newest first, as many as may matter."""
    texts: list[str] = []
    for message in reversed(messages):
        if message.role == "user":
            texts.append(message.text)
            if len(texts) > LOOKED_BACK:
                break
    return texts


def _goes_on(shown: Signals, found: Judgement) -> bool:
    """Tell whether a message is only understood by what was said before: short, and unspecific."""
    count = len(shown.words)
    if found.decided or not 0 < count <= LONGEST_CONTINUATION or shown.sum("life"):
        return False
    first = shown.words[0]
    return (
        count <= 3
        or first in _CONTINUES
        or " ".join(shown.words[:2]) in _CONTINUE_WITH
        or shown.count("trouble") > 0
        or found.topic >= 1.0
    )


def _continued(earlier: Iterable[str], own: Judgement) -> Judgement:
    """Take the kind of the question before, if that had one; the work is the message's own."""
    for text in earlier:
        shown = read(text[:EARLIER])
        before = judge(shown)
        if before.category == "greeting":
            continue
        if before.decided:
            return msgspec.structs.replace(
                before,
                complexity=own.complexity if own.complexity != "trivial" else "simple",
                strength=min(before.strength, SURE),
                signals=("goes on with what was asked before", *before.signals),
            )
        if not _goes_on(shown, before):
            break
    return own


def _wanted(found: Judgement) -> Iterable[Capability]:
    if found.code:
        yield "code"
    if found.math:
        yield "math"
    if found.reasoning:
        yield "reasoning"


def _in_order(needs: Iterable[Capability]) -> tuple[Capability, ...]:
    return tuple(sorted(set(needs), key=_ORDER.index))


def _confidence(found: Judgement) -> float:
    """Map strength to a share: a half where nothing tells, near 1 where much does."""
    strength = max(0.0, found.strength)
    return round(0.5 + 0.48 * strength / (strength + 2.0), 2)


def _has_image(message: Message) -> bool:
    content = message.content
    return not isinstance(content, str) and any(isinstance(part, ImagePart) for part in content)


def _at_most(messages: Sequence[Message]) -> int:
    """Count the tokens that the prompt takes at most."""
    beyond = 0
    left = COUNTED
    counted: list[Message] = []
    for message in messages:
        text = message.text
        if not text.isascii():
            left -= len(text)
            if left < 0:
                beyond += MOST_BYTES * len(text)
                message = msgspec.structs.replace(message, content=_without_text(message.content))
        counted.append(message)
    return upper_bound(counted) + beyond


def _without_text(content: str | tuple[Part, ...]) -> tuple[Part, ...]:
    if isinstance(content, str):
        return ()
    return tuple(part for part in content if not isinstance(part, TextPart))
