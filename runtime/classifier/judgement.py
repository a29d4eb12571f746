"""What kind of question the signals of a text make it: evidence is weighed, no word decides. Pure.

Owns the thresholds. About 3 is enough to be sure of a topic; `lexicon.py` and `signals.py` give
the evidence.
"""

import msgspec

from portal.runtime.classifier import words_code, words_tasks, words_thinking
from portal.runtime.classifier.lexicon import Match
from portal.runtime.classifier.signals import Signals
from portal.shared.decisions import Category, Complexity

_GREETING = frozenset(words_tasks.GREETING.split())
_GREETS = frozenset(words_tasks.GREETS.split())
_PHRASES = frozenset(phrase.strip() for phrase in words_tasks.PHRASES.split(","))
_ASKS = frozenset(words_tasks.ASKS.split())
_MADE_OF_CODE = frozenset(words_code.MADE_OF_CODE.split())
_QUANTIFIERS = frozenset(words_thinking.QUANTIFIERS.split())
_CONCLUSIONS = frozenset(words_thinking.CONCLUSIONS.split())
_KIN = frozenset(words_thinking.KIN.split())

SURE = 3.0
CODE_SURE = 2.5
"""Lower: a coder answers a question in prose well enough, the other way round costs more."""
LEVELS: tuple[Complexity, ...] = ("trivial", "simple", "moderate", "complex", "expert")

_UNMISTAKABLE = 2.5
_AMBIGUOUS = 2.0
_EVERYDAY_WORDS = 50
"""Prose of this many words holds some words of programming by chance; longer prose, more."""
_EXPLAINS = frozenset(words_tasks.EXPLAINS.split())
_BASE: dict[Category, float] = {
    "greeting": 0.0,
    "question": 1.0,
    "code": 1.9,
    "math": 1.9,
    "creative": 1.6,
    "analysis": 2.0,
    "translation": 1.2,
    "summarization": 1.7,
    "tool_use": 1.0,
    "general": 1.2,
}


class Judgement(msgspec.Struct, frozen=True):
    """What a text is about, before its conversation and its images are looked at."""

    category: Category
    complexity: Complexity
    code: bool = False
    math: bool = False
    reasoning: bool = False
    strength: float = 0.0
    """How far the evidence goes beyond what is needed, or falls short of the next best."""
    signals: tuple[str, ...] = ()
    topic: float = 0.0
    """How much of it is about programming; some, although too little to say so, lets a short
    message go on with a conversation about code."""

    @property
    def decided(self) -> bool:
        """Whether its own words say what it is, so that no earlier message needs to."""
        return self.code or self.reasoning or self.category not in ("question", "general")


def judge(shown: Signals) -> Judgement:
    """Weigh the signals of one text."""
    code = code_score(shown)
    hard, why_hard = thinking_score(shown)
    category, strength, why = _category(shown, code, hard)
    is_code = category == "code"
    needs_thought = hard >= SURE and category in ("math", "analysis")
    is_math = category == "math"
    if is_code:
        why = (*_named(shown, "code"), *(("shaped like code",) if shown.code_shape >= 1.0 else ()))
    elif needs_thought:
        why = why_hard
    complexity = _complexity(shown, category, hard=needs_thought)
    deep = is_code and (complexity == "expert" or hard >= 2 * SURE)
    return Judgement(
        category,
        complexity,
        code=is_code,
        math=is_math,
        reasoning=needs_thought or deep,
        strength=strength,
        signals=why,
        topic=code,
    )


def code_score(shown: Signals) -> float:
    """Weigh how much a text is about programming.

    Words that daily life uses too count only together, and daily life beside them counts against
    them. What is merely said about computing (careers, history, shopping) is no programming.
    """
    unmistakable = shown.sum("code", _UNMISTAKABLE)
    mostly = shown.sum("code", _AMBIGUOUS, _AMBIGUOUS)
    maybe = shown.sum("code", 0.0, _AMBIGUOUS - 0.1)
    density = max(1.0, len(shown.words) / _EVERYDAY_WORDS)
    ambiguous = mostly + min(maybe, 4.0) / density
    life = shown.sum("life")
    together = sum(1 for match in shown.found.get("code", ()) if match.weight <= _AMBIGUOUS)
    if together > 1 and ambiguous >= 2.2 and not life:
        ambiguous += 0.5 / density
    ambiguous = max(0.0, ambiguous - life)
    score = unmistakable + ambiguous
    if score >= 1.0:
        # One everyday word in trouble is anybody's (a class that never listens).
        alone = together == 1 and score < 1.25
        score += (1.0 if alone else 1.5) if shown.count("trouble") else 0.0
        score += 0.5 if shown.count("code_asks") else 0.0
    if score >= _AMBIGUOUS and shown.foreign:
        score += 1.0  # the term is the only word that the lexicon can know
    if shown.count("about"):
        score -= 1.0 if shown.count("code_asks") else SURE + 0.5
    return max(0.0, score) + shown.code_shape


def thinking_score(shown: Signals) -> tuple[float, tuple[str, ...]]:
    """Weigh how much a text asks for working something out, and say by what."""
    maths = shown.sum("math", SURE) + min(shown.sum("math", 0.0, 1.5), 3.0) + shown.math_shape
    bound = min(shown.count("constraint"), 6)
    puzzle = shown.sum("reasoning", SURE)
    maybe = min(shown.sum("reasoning", 0.0, 1.5), 3.0)
    if maybe or puzzle:
        puzzle += maybe + 0.35 * bound * (0.5 if len(shown.words) < 12 else 1.0)
        puzzle += 0.5 if shown.numbers >= 3 else 0.0
    if shown.series or (shown.compared >= 2 and shown.questions):
        puzzle += SURE
    if shown.story:
        puzzle += 1.0 + 0.3 * bound + (1.0 if shown.named else 0.0)
        kin = sum(word in _KIN for word in shown.words)
        puzzle += 2.0 if kin >= 3 else 0.0
    puzzle = max(puzzle, _syllogism(shown))
    if shown.count("chance") or (shown.count("ways") and shown.count("quantity")):
        maths += 1.5 * min(shown.numbers, 2)
    story = _told_in_numbers(shown, bound)
    named = {
        "mathematics": maths,
        "a puzzle or a plan": puzzle,
        "a problem told in numbers": story,
    }
    total = max(maths, puzzle, story) + 0.4 * (sum(named.values()) - max(named.values()))
    words = (*_named(shown, "math"), *_named(shown, "reasoning"))
    return total, (*(name for name, weight in named.items() if weight >= 1.5), *words[:4])


def _told_in_numbers(shown: Signals, bound: int) -> float:
    """Weigh a problem of everyday words: numbers, what binds them, and a question of quantity."""
    told = shown.numbers >= 2 or (shown.numbers == 1 and shown.sentences >= 3)
    if not told or not shown.count("quantity") or len(shown.words) < 12:
        return 0.0
    score = 1.6 + 0.4 * (shown.numbers - 2) + 0.25 * min(bound, 4)
    score += 0.8 if len(shown.words) >= 24 else 0.0
    score += 1.2 if shown.sentences >= 3 else 0.9 if shown.sentences == 2 else 0.0
    score += 0.8 if shown.rate else 0.0
    return score - (1.0 if shown.count("advice") else 0.0)


def _syllogism(shown: Signals) -> float:
    """Weigh statements about all and some from which something is to be concluded."""
    quantified = sum(word in _QUANTIFIERS for word in shown.words)
    concludes = _CONCLUSIONS.intersection(shown.words)
    short = len(shown.words) <= _EVERYDAY_WORDS
    told = quantified >= 3 or (quantified >= 2 and concludes and shown.sentences >= 2)
    follows = concludes or shown.words[:1] == ("if",)
    return SURE if told and follows and short and shown.questions else 0.0


def _category(shown: Signals, code: float, hard: float) -> tuple[Category, float, tuple[str, ...]]:
    """Choose the kind: tasks done to a text first, then topics, then the form of the sentence."""
    if _is_greeting(shown):
        return "greeting", SURE, ("a greeting",)
    translation = _translation(shown)
    if translation >= SURE:
        return "translation", translation, _named(shown, "translation")
    creative = _creative(shown)
    if creative >= SURE and shown.code_shape < SURE and _comes_first(shown):
        return "creative", creative, _named(shown, "creative")
    summary = shown.asked("summary")
    if summary >= SURE and shown.code_shape < SURE and shown.asked("code", _UNMISTAKABLE) < SURE:
        return "summarization", summary, _named(shown, "summary")
    tool = shown.sum("tool")
    acts = tool >= SURE and code < SURE + 1.0
    if code >= CODE_SURE and not acts and not (hard > code + 2.0 and shown.code_shape < 1.0):
        return "code", code - CODE_SURE + 1.0 - max(hard - SURE, 0.0), ()
    if tool >= SURE and hard < SURE:
        return "tool_use", tool, _named(shown, "tool")
    if hard >= SURE:
        maths = shown.sum("math") + shown.math_shape
        of_numbers = maths >= shown.sum("reasoning") and (maths > 0 or shown.count("quantity"))
        return ("math" if of_numbers else "analysis"), hard - code / 2, ()
    easy = shown.easy_math_shape + (shown.sum("easy_math") if shown.numbers else 0.0)
    if easy >= 2.0 and len(shown.words) <= 25:
        return "math", easy, ("arithmetic",)
    return _by_form(shown, max(code, hard))


def _translation(shown: Signals) -> float:
    """Weigh a translation between the languages of people; between those of machines it is code."""
    entries = (shown.instruction if shown.pasted else shown.found).get("translation", ())
    score = sum(match.weight for match in entries)
    language = any(" " in match.entry for match in entries)
    program = shown.code_shape >= SURE or shown.asked("code", _AMBIGUOUS) >= _AMBIGUOUS
    if shown.fenced or (program and not language):
        return 0.0
    return score + (1.5 if score and shown.quoted else 0.0)


def _by_form(shown: Signals, nearest: float) -> tuple[Category, float, tuple[str, ...]]:
    """Tell the kinds that need no special model apart; `nearest`: the best score of the others."""
    strength = SURE - nearest
    if shown.sum("analysis") >= 2.5:
        return "analysis", strength, _named(shown, "analysis")
    if shown.sum("creative") >= SURE:
        return "creative", strength, _named(shown, "creative")
    if (shown.words and shown.words[0] in _ASKS) or (
        shown.questions and any(word in _ASKS for word in shown.words)
    ):
        return "question", strength, ("a question",)
    if shown.questions:
        return "question", strength / 2, ("a question mark",)
    return "general", strength / 2, ()


def _is_greeting(shown: Signals) -> bool:
    spoken = shown.words
    made_of = all(word in _GREETING for word in spoken) and not _GREETS.isdisjoint(spoken)
    short = 0 < len(spoken) <= 8 and shown.code_shape == 0.0
    return (short and made_of) or " ".join(spoken) in _PHRASES


def _creative(shown: Signals) -> float:
    """Weigh the words of writing; a poem generator is a program, and no poem."""
    score = 0.0
    for match in shown.found.get("creative", ()):
        following = shown.words[match.position + match.length :][:2]
        if not _MADE_OF_CODE.intersection(following):
            score += match.weight
    return score


def _comes_first(shown: Signals) -> bool:
    """Tell a poem about a bug from a bug in a poem's page: what comes first is what is wanted."""
    writing = _first(shown.found.get("creative", ()), SURE)
    program = _first(shown.found.get("code", ()), _UNMISTAKABLE)
    return writing < program


def _first(found: list[Match] | tuple[()], least: float) -> int:
    return min((match.position for match in found if match.weight >= least), default=10_000)


def _named(shown: Signals, group: str) -> tuple[str, ...]:
    """Name the weightiest entries of a group."""
    best = sorted(shown.found.get(group, ()), key=lambda match: -match.weight)[:3]
    return tuple(f"“{match.entry.rstrip('*')}”" for match in best)


def _complexity(shown: Signals, category: Category, *, hard: bool) -> Complexity:
    """Estimate the work: the kind, the length, how much is asked, and words of depth."""
    count = len(shown.words)
    if category == "greeting" or (count <= 1 and not shown.code_shape):
        return "trivial" if category == "greeting" else "simple"
    points = _BASE[category] + (0.5 if hard else 0.0)
    if category == "math" and not hard:
        points = 0.4 if count <= 6 else 1.0
    points += 1.1 * min(shown.count("depth"), 2) + 0.35 * min(shown.count("hard"), 4)
    points += 0.3 * min(max(shown.items - 1, shown.questions - 1, 0), 3)
    points += 0.0 if count < 28 else 0.4 if count < 60 else 0.8
    if category == "question" and count > 4 and _EXPLAINS.intersection(shown.words[:2]):
        points += 0.25
    if category == "code" and count <= 9 and shown.code_shape < SURE:
        points -= 0.5
    return LEVELS[max(0, min(4, round(points)))]
