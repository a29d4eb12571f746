"""Measure a model for a question: how good its answer will be, and how soon it is there. Pure.

Seconds are estimates, made to compare models on one machine: what was measured lately counts, else
what is usual for the model's speed class on common hardware.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from portal.shared.decisions import Classification, Complexity
from portal.shared.models import Capability, Model, SpeedClass

Kind = Literal["general", "code", "math", "reasoning"]

KINDS: Sequence[Kind] = ("general", "code", "math", "reasoning")
BY_NEED: Sequence[Kind] = ("reasoning", "code", "math")
"""Needs that say which quality counts, where the category does not."""
TOKENS: Mapping[Complexity, float] = {
    "trivial": 60,
    "simple": 150,
    "moderate": 300,
    "complex": 600,
    "expert": 900,
}
"""Of a usual answer."""
TOKENS_PER_SECOND: Mapping[SpeedClass | None, float] = {
    "fast": 60,
    "medium": 25,
    None: 25,
    "slow": 8,
}
"""Of a model that nobody has measured yet, on common hardware."""
PREFILL = 15
"""How many times faster a prompt is read than an answer written."""
LOADING: Mapping[SpeedClass | None, float] = {"fast": 4, "medium": 10, None: 10, "slow": 30}
"""Seconds until a model that is not in memory is."""
THINKING = 2.5
"""How many times longer the answer of a model that thinks first takes."""
PATIENCE: Mapping[Complexity, float] = {
    "trivial": 4,
    "simple": 8,
    "moderate": 15,
    "complex": 30,
    "expert": 60,
}
"""Seconds after which an answer is worth half as much, where speed counts at all."""
MIDDLING = 0.5
"""Quality of a model of which nobody knows any."""


class Facts(msgspec.Struct, frozen=True):
    """What is known of a model at this moment."""

    tokens_per_second: float | None = None
    """As measured lately, when writing."""
    waiting: int = 0
    """Requests in line for it."""
    priority: int = 0
    """Of its backend, from the settings."""


NO_FACTS = Facts()


class Measured(msgspec.Struct):
    """A model being compared with others; `score` is set by a strategy."""

    model: Model
    id: str
    quality: float
    """From 0 to 1, for this kind of question."""
    seconds: float
    """Until the answer is there."""
    soon: float
    """The same from 0 to 1: 1 at once, 0.5 when patience ends."""
    preferred: float
    """Share of the preferred capabilities that it has."""
    priority: int
    score: float = 0.0


class Traits(msgspec.Struct, frozen=True):
    """What follows from a model alone, and is reckoned once."""

    id: str
    capabilities: frozenset[Capability]
    qualities: Mapping[Kind, float]
    tokens_per_second: float
    loading: float
    """Seconds until it can begin."""
    length: float
    """Of its answers, as a multiple of the usual."""


def kind_of(asked: Classification) -> Kind:
    """Say which of a model's qualities counts for a question."""
    if asked.category == "code":
        return "code"
    if asked.category == "math":
        return "math"
    for kind in BY_NEED:
        if kind in asked.needs:
            return kind
    return "general"


def measure(
    models: Sequence[Model],
    asked: Classification,
    *,
    prefer: Sequence[Capability] = (),
    facts: Mapping[str, Facts] = {},
) -> list[Measured]:
    """Measure models for a question, each with what `facts` has under its id."""
    kind = kind_of(asked)
    tokens, patience = TOKENS[asked.complexity], PATIENCE[asked.complexity]
    prompt = asked.tokens / PREFILL
    wanted = frozenset(prefer)
    measured = []
    for model in models:
        traits = _traits(model)
        now = facts.get(traits.id, NO_FACTS)
        pace = now.tokens_per_second
        if pace is None or not pace > 0:
            pace = traits.tokens_per_second
        answer = (prompt + tokens * traits.length) / pace
        seconds = answer * (1 + now.waiting) + traits.loading
        measured.append(
            Measured(
                model,
                traits.id,
                traits.qualities[kind],
                seconds,
                patience / (patience + seconds),
                len(wanted & traits.capabilities) / len(wanted) if wanted else 0.0,
                now.priority,
            )
        )
    return measured


@functools.lru_cache(maxsize=1024)
def _traits(model: Model) -> Traits:
    able = frozenset(model.capabilities or ())
    quality = model.quality
    loading = LOADING[model.speed]
    if model.loaded is not False:
        # Where nobody tells, it is as likely as not.
        loading = 0.0 if model.loaded else loading / 2
    return Traits(
        model.id,
        able,
        {kind: MIDDLING if quality is None else getattr(quality, kind) / 100 for kind in KINDS},
        TOKENS_PER_SECOND[model.speed],
        loading,
        THINKING if "reasoning" in able else 1.0,
    )
