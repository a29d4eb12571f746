"""Put models that may answer a question into order, by strategy. Pure.

Who may answer was decided before. A strategy weighs two figures against each other that `measuring`
gives each model: how good its answer will be, and how soon it is there.
"""

from collections.abc import Mapping, Sequence

import msgspec

from portal.runtime.routing.measuring import Facts, Kind, Measured, kind_of, measure
from portal.shared.decisions import Classification, Complexity, Strategy
from portal.shared.models import Capability, Model

__all__ = ["Facts", "Scored", "order"]

ENOUGH: Mapping[Complexity, float] = {
    "trivial": 0.22,
    "simple": 0.35,
    "moderate": 0.5,
    "complex": 0.62,
    "expert": 0.72,
}
"""Quality that suffices."""
SANE: Mapping[Complexity, float] = {
    "trivial": 0.22,
    "simple": 0.26,
    "moderate": 0.3,
    "complex": 0.38,
    "expert": 0.42,
}
"""Quality below which speed is no merit: about 1B for a simple question, 3B for a complex one."""
CARE: Mapping[Complexity, float] = {
    "trivial": 0.25,
    "simple": 0.35,
    "moderate": 0.6,
    "complex": 0.85,
    "expert": 0.95,
}
"""How much quality weighs against speed under `auto`; under `balanced` it is always as MIDDLE."""
MIDDLE = 0.6
MIDDLING_SIZE = 8.0
"""Billions of parameters of one of which nobody knows them."""
PREFERRED = 0.15
"""What a model gains that has all capabilities preferred."""
ALIKE = 0.02
"""Scores no further apart than this are equally good: then the backend's priority decides."""
TIE = 1e-4
"""Weight of what only breaks ties."""
WEAK = 0.25
"""Under `speed`, models below the sane score less than this, all others more."""
LAST_RESORT = 1e-3
"""Factor on what the embedded model scores."""
LEANS: Mapping[Complexity, Strategy] = {
    "trivial": "speed",
    "simple": "speed",
    "moderate": "balanced",
    "complex": "quality",
    "expert": "quality",
}
"""What `auto` is most like."""
IN_KIND: Mapping[Kind, str] = {
    "general": "overall",
    "code": "at code",
    "math": "at math",
    "reasoning": "at reasoning",
}


class Scored(msgspec.Struct, frozen=True):
    """A model in its place."""

    model: Model
    score: float
    """From 0 to 1, to be compared within one order only."""
    reason: str
    """A short phrase, fit for a header."""


def order(
    models: Sequence[Model],
    asked: Classification,
    strategy: Strategy,
    *,
    prefer: Sequence[Capability] = (),
    facts: Mapping[str, Facts] = {},
) -> list[Scored]:
    """Put models into order, best first; embedded ones last, whatever they score.

    `facts` goes by the model's id. The order does not depend on that of `models`.
    """
    measured = measure(models, asked, prefer=prefer, facts=facts)
    own = [each for each in measured if each.model.kind != "embedded"]
    embedded = [each for each in measured if each.model.kind == "embedded"]
    ranked = _ranked(own, asked, strategy)
    reasons = _reasons(ranked, asked, strategy, IN_KIND[kind_of(asked)])
    found = [
        Scored(entry.model, _shown(entry.score), reason)
        for entry, reason in zip(ranked, reasons, strict=True)
    ]
    found += [
        # The score says that it is the last resort, too.
        Scored(entry.model, _shown(entry.score * LAST_RESORT), "embedded, the last resort")
        for entry in _ranked(embedded, asked, strategy)
    ]
    return found


def _ranked(entries: list[Measured], asked: Classification, strategy: Strategy) -> list[Measured]:
    """Give each its score, and sort."""
    if strategy == "cost_optimized":
        return _by_cost(entries, asked)
    floor, care = sane(asked), CARE[asked.complexity] if strategy == "auto" else MIDDLE
    for entry in entries:
        if strategy == "quality":
            score = _weighted(entry.quality, entry) + TIE * entry.soon
        elif strategy == "speed":
            sound = entry.quality >= floor
            score = _weighted(entry.soon if sound else entry.quality, entry)
            score = WEAK + (1 - WEAK) * score if sound else WEAK * score
            score += TIE * entry.quality
        else:
            score = _weighted(entry.quality**care * entry.soon ** (1 - care), entry)
        entry.score = score
    return _sorted(entries)


def _by_cost(entries: list[Measured], asked: Classification) -> list[Measured]:
    """Sort by price, and within one price by size, the smallest that suffices first."""
    enough = ENOUGH[asked.complexity]
    groups: dict[float, list[Measured]] = {}
    for entry in entries:
        if entry.quality >= enough:
            size = entry.model.billions or MIDDLING_SIZE
            score = 0.5 + 0.5 / (1 + size / MIDDLING_SIZE)
        else:
            score = 0.5 * entry.quality
        entry.score = _weighted(score, entry) + TIE * entry.soon
        groups.setdefault(entry.model.cost, []).append(entry)
    ranked: list[Measured] = []
    for place, cost in enumerate(sorted(groups)):
        group = _sorted(groups[cost])
        for entry in group:
            entry.score = (len(groups) - 1 - place + entry.score) / len(groups)
        ranked += group
    return ranked


def sane(asked: Classification) -> float:
    """Say which quality a quick answer needs: none for a greeting."""
    return 0.0 if asked.category == "greeting" else SANE[asked.complexity]


def _weighted(score: float, entry: Measured) -> float:
    return (score + PREFERRED * entry.preferred) / (1 + PREFERRED + TIE)


def _sorted(entries: list[Measured]) -> list[Measured]:
    """Sort by score, the equally good by priority; equals by id, so that it is always the same."""
    entries.sort(key=_by_score)
    if len({entry.priority for entry in entries}) < 2:
        return entries
    ranked: list[Measured] = []
    while entries:
        # Measured from the best one left, not from neighbour to neighbour, which might never end.
        least = entries[0].score - ALIKE
        alike = [entry for entry in entries if entry.score >= least]
        entries = entries[len(alike) :]
        ranked += sorted(alike, key=lambda entry: -entry.priority)
    return ranked


def _by_score(entry: Measured) -> tuple[float, str]:
    return (-entry.score, entry.id)


def _shown(score: float) -> float:
    return round(min(score, 1.0), 4)


def _reasons(
    ranked: Sequence[Measured], asked: Classification, strategy: Strategy, in_kind: str
) -> list[str]:
    """Say of each in a few words why it stands where it does."""
    if not ranked:
        return []
    if strategy == "cost_optimized":
        return _cost_reasons(ranked, asked)
    best = max(entry.quality for entry in ranked)
    floor = sane(asked) if strategy in ("speed", "auto") else 0.0
    fastest = min((e.seconds for e in ranked if e.quality >= floor), default=0.0)
    lean: str = strategy
    if strategy == "auto":
        lean = LEANS[asked.complexity]
    reasons = []
    for entry in ranked:
        first, loaded = entry is ranked[0], "loaded, " if entry.model.loaded else ""
        if lean == "quality" and entry.quality >= best:
            reason = f"best {in_kind}"
        elif lean == "quality":
            nearly = "preferred, good" if entry.preferred else f"{loaded}nearly the best"
            reason = f"{nearly if first else 'next best'} {in_kind}"
        elif lean == "balanced":
            reason = f"{loaded}best balance" if first else "next best balance"
        elif entry.quality < floor:
            reason = "quick, but weak" if entry.seconds <= fastest else "weak"
        elif entry.seconds <= fastest:
            reason = "fastest"
        else:
            reason = f"{loaded}good enough" if first else "next fastest"
        reasons.append(reason)
    return reasons


def _cost_reasons(ranked: Sequence[Measured], asked: Classification) -> list[str]:
    least, enough = ranked[0].model.cost, ENOUGH[asked.complexity]
    alike = ranked[-1].model.cost == least
    reasons = []
    for entry in ranked:
        suffices, first = entry.quality >= enough, entry is ranked[0]
        if entry.model.cost > least:
            reason = "costs more"
        elif suffices and first:
            reason = "smallest that is good enough" if alike else "cheapest, good enough"
        elif suffices:
            reason = "good enough, larger"
        else:
            reason = "cheapest, but weak" if first and not alike else "weak"
        reasons.append(reason)
    return reasons
