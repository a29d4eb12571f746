"""How words tell about a question: the classifier's lexicon, and where a text uses it. Pure.

The words are in `words_code.py`, `words_thinking.py` and `words_tasks.py`, in English, German,
French and Spanish, in groups, each with a weight. A topic is sure at about 3: one unmistakable
term, or several that only mean it together. An entry of weight 0 takes its words out of its
group (`dress code` is no code). `stem*` matches every word that begins so; a plural `s` and
accents are ignored; of entries of a group that begin at one word, the longest is taken.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from portal.runtime.classifier import words_code, words_computing, words_tasks, words_thinking

GROUPS: Mapping[str, Mapping[float, str]] = {
    "code": words_code.CODE,
    "trouble": words_code.TROUBLE,
    "code_asks": words_code.CODE_ASKS,
    "life": words_code.LIFE,
    "about": words_code.ABOUT_COMPUTING,
    "math": words_thinking.MATH,
    "easy_math": words_thinking.EASY_MATH,
    "reasoning": words_thinking.REASONING,
    "constraint": words_thinking.CONSTRAINT,
    "quantity": words_thinking.QUANTITY,
    "chance": words_thinking.CHANCE,
    "ways": words_thinking.WAYS,
    "advice": words_thinking.ADVICE,
    "depth": words_thinking.DEPTH,
    "hard": words_thinking.HARD,
    "creative": words_tasks.CREATIVE,
    "translation": words_tasks.TRANSLATION,
    "summary": words_tasks.SUMMARY,
    "analysis": words_tasks.ANALYSIS,
    "tool": words_tasks.TOOL,
}
STEM = 6
"""Letters that a `stem*` at an entry's beginning has at least."""


_FOLDED: Mapping[int, str] = {
    code: plain
    for code in range(0xC0, 0x180)
    if (plain := re.sub(r"[^a-z]", "", unicodedata.normalize("NFKD", chr(code)).lower()))
} | {ord("ß"): "ss", ord("æ"): "ae", ord("œ"): "oe", ord("ø"): "o", ord("ł"): "l"}
# Letters of other scripts stand apart: Japanese and Chinese put no space around a term.
_WORD = re.compile(r"[a-z]\+\+|[cf]#|[a-z0-9_]+|[^\W_a-z0-9]+")


class Match(msgspec.Struct, frozen=True, gc=False):
    """An entry of the lexicon that a text uses."""

    entry: str
    weight: float
    position: int
    """Of its first word in the text, from 0."""
    length: int
    """In words."""


class _Entry(msgspec.Struct, frozen=True, gc=False):
    text: str
    group: str
    weight: float


class _Node:
    """A step into the lexicon, word by word."""

    __slots__ = ("ends", "further", "stems")

    def __init__(self) -> None:
        self.further: dict[str, _Node] = {}
        self.ends: tuple[_Entry, ...] = ()
        self.stems: tuple[tuple[str, _Entry], ...] = ()


def fold(text: str) -> str:
    """Make the text lower-case and take the accents off its Latin letters."""
    lower = text.lower()
    return lower if lower.isascii() else lower.translate(_FOLDED)


def words(folded: str) -> list[str]:
    """Cut a folded text into words: `c++` is one, `doesn't` is two."""
    return _WORD.findall(folded)


def entries() -> Iterator[tuple[str, str, float]]:
    """Walk the whole lexicon: group, entry, weight."""
    for group, weights in (*GROUPS.items(), ("code", words_computing.COMPUTING)):
        for weight, listed in weights.items():
            for entry in listed.split(","):
                yield group, " ".join(entry.split()), weight
    for prepositions, languages, weight in (
        (words_code.BEFORE_A_LANGUAGE, words_code.LANGUAGES, 3.0),
        (words_code.BEFORE_AN_AMBIGUOUS_LANGUAGE, words_code.AMBIGUOUS_LANGUAGES, 2.0),
    ):
        for preposition in prepositions.split(","):
            for language in languages.split(","):
                yield "code", f"{preposition.strip()} {language.strip()}", weight


def matches(tokens: Sequence[str]) -> dict[str, list[Match]]:
    """Find the lexicon in a text's words: by group, in the order of the text, each entry once."""
    found: dict[str, list[Match]] = {}
    seen: set[_Entry] = set()
    taken: dict[str, int] = {}
    for position, token in enumerate(tokens):
        best: dict[str, tuple[_Entry, int]] = {}
        for stem, entry in _STEMS.get(token[:STEM], ()):
            if token.startswith(stem):
                best[entry.group] = (entry, 1)
        if (node := _after(_ROOT, token)) is not None:
            _walk(node, tokens, position, best)
        for group, (entry, length) in best.items():
            if taken.get(group, 0) > position:
                continue
            taken[group] = position + length
            if entry.weight and entry not in seen:
                seen.add(entry)
                match = Match(entry.text, entry.weight, position, length)
                found.setdefault(group, []).append(match)
    return found


def _after(node: _Node, token: str) -> _Node | None:
    """Go on by a word, or by its singular."""
    after = node.further.get(token)
    if after is None and token[-1:] == "s" and len(token) > 3:
        return node.further.get(token[:-1])
    return after


def _walk(
    node: _Node | None, tokens: Sequence[str], position: int, best: dict[str, tuple[_Entry, int]]
) -> None:
    """Keep the longest entry of each group on the way that the words lead from a node."""
    following = position
    while node is not None:
        following += 1
        for entry in node.ends:
            best[entry.group] = (entry, following - position)
        if following == len(tokens) or not (node.further or node.stems):
            return
        token = tokens[following]
        for stem, entry in node.stems:
            if token.startswith(stem):
                best[entry.group] = (entry, following + 1 - position)
        node = _after(node, token)


def _grown() -> tuple[_Node, dict[str, list[tuple[str, _Entry]]]]:
    """Lay the lexicon out word by word, and single stems by their first letters."""
    root = _Node()
    stems: dict[str, list[tuple[str, _Entry]]] = {}
    known: set[tuple[str, str]] = set()
    for group, text, weight in entries():
        if (group, text) in known:  # the first one counts
            continue
        known.add((group, text))
        entry = _Entry(text, group, weight)
        *before, last = words(fold(text.rstrip("*")))
        node = root
        for word in before:
            node = _next(node, word)
        if not text.endswith("*"):
            _next(node, last).ends += (entry,)
        elif before:
            node.stems += ((last, entry),)
        else:
            stems.setdefault(last[:STEM], []).append((last, entry))
    _share_plurals(root)
    return root, stems


def _next(node: _Node, word: str) -> _Node:
    after = node.further.get(word)
    if after is None:
        after = node.further[word] = _Node()
    return after


def _share_plurals(node: _Node) -> None:
    """Let a plural that begins entries of its own go on as its singular does, too."""
    for word, after in node.further.items():
        _share_plurals(after)
        plural = node.further.get(f"{word}s")
        if plural is not None and len(word) > 2:
            _merge(after, plural)


def _merge(source: _Node, target: _Node) -> None:
    groups = {entry.group for entry in target.ends}
    target.ends += tuple(entry for entry in source.ends if entry.group not in groups)
    target.stems += source.stems
    for word, after in source.further.items():
        _merge(after, _next(target, word))


_ROOT, _STEMS = _grown()
