"""What a text shows about itself: its words of the lexicon, and the shapes of code and maths. Pure.

Looks at bounded slices of a text only, a line's first characters only, and at each with patterns
that cannot backtrack far: a megabyte costs what a page does.
"""

import re

import msgspec

from portal.runtime.classifier import lexicon, shapes, words_thinking
from portal.runtime.classifier.lexicon import Match

HEAD = 1000
TAIL = 400
"""Characters that are looked at: people ask at the beginning or at the end of what they paste."""
LINE = 240
"""Characters of a line that are looked at for shapes."""
LINES = 45
TOKENS = 140
"""Words that are looked up."""
LEAD = 300
"""Longest beginning or end that counts as the instruction around pasted text."""

_FENCE = re.compile(r"^\s{0,3}(?:```|~~~)")
_QUOTED = re.compile(r'"[^"\n]{12,400}"|“[^”\n]{12,400}”|«[^»\n]{12,400}»|„[^“”\n]{12,400}[“”]')

_RATE = re.compile(
    r"\d ?%|/(?:h|min|s|day|week|month|year)\b|\bkm/h|\bmph\b"
    r"|\d\D{0,12} (?:a|an|per|each|every|pro|par|por|al) (?:hour|minute|second|day|week|month|year"
    r"|stunde|minute|tag|woche|monat|jahr|heure|jour|semaine|mois|an|hora|dia|semana|mes|ano)\b"
)
_SERIES = re.compile(r"(?:\b\d{1,6}, ?){3,20}(?:\?|\.\.|…|_|\d{1,6},? ?(?:\?|…|\.\.|$))")
_COMPARED = re.compile(
    r"\b(?:\w{2,12}er|more \w{3,15}|less \w{3,15}|right|left) (?:than|of|als)\b"
    r"|\b(?:plus|moins|mas|menos) \w{3,15} que\b"
)
_NAMED = re.compile(r"[A-Z]\w{1,12}, (?:[A-Z]\w{1,12}, ?){0,6}(?:and |und |et |y )?[A-Z]\w{1,12}\b")
_FIRST_PERSON = frozenset(words_thinking.FIRST_PERSON.split())
_NUMBER = re.compile(r"(?<![\w.])\d[\d.,:]*")
_NUMBER_WORDS = frozenset(words_thinking.NUMBER_WORDS.split())
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)")
_ITEM = re.compile(r"^\s{0,6}(?:[-*•]|\d{1,2}[.)])\s", re.MULTILINE)


class Signals(msgspec.Struct, frozen=True):
    """What a text shows; a shape's sum is about 3 where the text alone decides."""

    words: tuple[str, ...]
    """Folded; of the prose, without blocks of code."""
    found: dict[str, list[Match]]
    instruction: dict[str, list[Match]]
    """The same of the words around pasted text: what is asked to be done with it."""
    code_shape: float
    math_shape: float
    easy_math_shape: float
    numbers: int
    series: bool
    """Whether it shows the beginning of a series of numbers."""
    compared: int
    """How often things are compared with each other."""
    named: bool
    """Whether it lists three names or more."""
    story: bool
    """Whether it tells of others, in sentences, and then asks."""
    quoted: bool
    rate: bool
    """Whether something is told by the hour, by the month or as a percentage."""
    sentences: int
    questions: int
    items: int
    """Of lists."""
    pasted: bool
    """Whether there is text beside the instruction."""
    fenced: bool
    foreign: bool
    """Whether it is mostly in another script than the Latin one."""

    def sum(self, group: str, least: float = 0.0, most: float = 99.0) -> float:
        """Add up the weights of a group's entries, of those between the two bounds."""
        return sum(m.weight for m in self.found.get(group, ()) if least <= m.weight <= most)

    def asked(self, group: str, least: float = 0.0) -> float:
        """Add up a group's entries within the instruction."""
        return sum(m.weight for m in self.instruction.get(group, ()) if m.weight >= least)

    def count(self, group: str) -> int:
        """Count the different entries of a group."""
        return len(self.found.get(group, ()))


def read(text: str) -> Signals:
    """Read the signals of a text of any length, in bounded time."""
    if len(text) > HEAD + TAIL:
        text = f"{text[:HEAD]}\n{text[-TAIL:]}"
    prose, code_shape, fenced = _without_code(text.splitlines())
    joined = "\n".join(prose)
    folded = lexicon.fold(joined)
    tokens = lexicon.words(folded)
    if len(tokens) > TOKENS:
        tokens = [*tokens[: TOKENS * 3 // 4], *tokens[-TOKENS // 4 :]]
    found = lexicon.matches(tokens)
    around = _instruction(prose)
    pasted = len(around) < len(joined)
    instruction = found
    if pasted and ("translation" in found or "summary" in found):
        instruction = lexicon.matches(lexicon.words(lexicon.fold(around))[: TOKENS // 2])
    shown = _ends(folded)
    questions = joined.count("?")
    digits = len(_NUMBER.findall(shown))
    numbers = digits + sum(token in _NUMBER_WORDS for token in tokens)
    return Signals(
        words=tuple(tokens),
        found=found,
        instruction=instruction,
        code_shape=code_shape,
        math_shape=shapes.weigh(shown, shapes.MATHS),
        easy_math_shape=shapes.weigh(shown, shapes.ARITHMETIC) if digits else 0.0,
        numbers=numbers,
        series=digits >= 4 and _SERIES.search(shown) is not None,
        compared=len(_COMPARED.findall(shown)) if questions else 0,
        named=_NAMED.search(_ends(joined)) is not None,
        story=_is_story(joined, tokens),
        quoted=_QUOTED.search(_ends(joined)) is not None,
        rate=digits > 0 and _RATE.search(shown) is not None,
        sentences=len(_SENTENCE_END.findall(joined)),
        questions=questions,
        items=len(_ITEM.findall(joined)),
        pasted=pasted,
        fenced=fenced,
        foreign=2 * sum(not token.isascii() for token in tokens) >= len(tokens) > 0,
    )


def _without_code(lines: list[str]) -> tuple[list[str], float, bool]:
    """Take lines of code out: the prose, how much the whole looks like code, whether fenced."""
    prose: list[str] = []
    shape = 0.0
    inside = fenced = False
    if len(lines) > LINES:
        lines = [*lines[: LINES * 2 // 3], *lines[-LINES // 3 :]]
    for whole in lines:
        line = whole[:LINE]
        if _FENCE.match(line):
            inside = not inside
            fenced = True
        elif inside:
            continue
        elif shapes.is_trace(line):
            shape += 2.5
            prose.append(whole)
        elif len(lines) > 1 and shapes.LINE_OF_CODE.match(line):
            shape += 1.25
        else:
            prose.append(whole)
    if len(lines) == 1 and shapes.LINE_OF_CODE.match(lines[0][:LINE]):
        shape += 1.0
    shape += 3.0 if fenced else 0.0
    shape += shapes.weigh(_ends("\n".join(prose)), shapes.CODE)
    return prose, min(shape, 8.0), fenced


def _is_story(prose: str, tokens: list[str]) -> bool:
    """Tell puzzles and problems by their form: who asks for himself says so."""
    told = len(_SENTENCE_END.findall(prose)) >= 2 and "?" in prose[-LEAD:]
    return told and 14 <= len(tokens) <= 160 and _FIRST_PERSON.isdisjoint(tokens)


def _ends(text: str) -> str:
    """Keep the beginning and the end of a text, where shapes are looked for."""
    return text if len(text) <= 3 * LEAD else f"{text[: 2 * LEAD]}\n{text[-LEAD:]}"


def _instruction(prose: list[str]) -> str:
    """Keep what stands around pasted or quoted text: the first line up to a colon, and the last."""
    spoken = [line for line in prose if line.strip()]
    if not spoken:
        return ""
    first = _QUOTED.sub(" ", spoken[0][: LEAD * 2])
    colon = first.find(":")
    after = len(first) - colon + sum(map(len, spoken[1:]))
    if colon > 0 and after > 12:
        first = first[:colon]
    if len(spoken) == 1:
        return first[:LEAD]
    last = spoken[-1] if len(spoken[-1]) <= LEAD and len(spoken) <= LINES else ""
    return f"{first[:LEAD]}\n{last}" if colon <= 0 or len(spoken) > 2 else first[:LEAD]
