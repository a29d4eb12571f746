"""What is known about a model beyond what its server tells: shipped hints, then the settings. Pure.

`hints.toml` holds the facts and says what its numbers mean; `hint_table` finds a model in it.
"""

import functools
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from portal.runtime.backends.tolerant import ordered
from portal.runtime.hints.hint_table import (
    Family,
    Hints,
    Points,
    Recognised,
    Scale,
    Speed,
    Thinking,
    Trait,
    load_hints,
    recognise,
)
from portal.runtime.hints.model_names import bits, in_words, read_numbers
from portal.runtime.ops import schema
from portal.shared.models import Capability, Model, Quality, SpeedClass

FILLED = (
    "capabilities",
    "context_window",
    "parameters",
    "billions",
    "quantization",
    "family",
    "speed",
    "quality",
)
"""The fields that hints may fill, in the order of `Model`."""
LOW, HIGH = 10, 80
"""Quality beyond which points count for less and less."""
NEAR = 0.05
"""How far, as a share, a size may be from the one of a mixture: 30.5 is 30, and 32 is not."""


class Size(msgspec.Struct, frozen=True):
    """Billions of parameters, as far as anybody tells."""

    all: float | None
    active: float | None

    @property
    def computed(self) -> float | None:
        """What each token takes part in."""
        return self.all if self.active is None else self.active

    @property
    def effective(self) -> float | None:
        """The dense model that answers about as well."""
        if self.all is None or self.active is None:
            return self.computed
        return math.pow(self.all, 0.6) * math.pow(min(self.active, self.all), 0.4)


def complete(model: Model, facts: Sequence[schema.ModelFacts] = ()) -> Model:
    """Fill in what the server did not tell, then let the settings have the last word.

    What the server told stays; only to its capabilities those are added that no server tells
    (code, math, speed, and reasoning for what is made for it). All facts whose name matches apply
    in their order, field by field, so that the last one to give a field wins. What hints filled
    is named in `guessed`.
    """
    found = _hinted(model)
    for each in facts:
        if matches(each, model):
            found = _overridden(found, each)
    return found


def matches(facts: schema.ModelFacts, model: Model) -> bool:
    """Tell whether facts of the settings are about a model; upper and lower case are alike."""
    return _glob(facts.name).fullmatch(model.id) is not None


def may_chat(model: Model) -> bool:
    """Tell chat models from those that only embed, rank, listen or judge."""
    able = model.capabilities
    return "general" in ((complete(model).capabilities if able is None else able) or ())


def billions(model: Model) -> float:
    """Give billions of parameters, from the server or the name; 0 when neither tells."""
    return model.billions or complete(model).billions or 0.0


def _hinted(model: Model) -> Model:
    hints = load_hints()
    told = read_numbers(model.parameters or "")
    found = recognise(model.name, model.family or "", model.billions or told.billions)
    family, traits, named = found.family, found.traits, found.named
    active = told.active or named.numbers.active
    size = _sized(Size(model.billions or told.billions or named.numbers.billions, active), family)
    thinking = _thinking(family, traits, model.capabilities)
    quantization = model.quantization or named.quantization
    only = next((trait.only for trait in traits if trait.only is not None), None)
    chats = only is None if model.capabilities is None else "general" in model.capabilities
    quality = model.quality
    if quality is None and chats:
        quality = _quality(hints, family, traits, thinking, size, quantization)
    speed = model.speed or _speed(hints.speed, size, thinking)
    capabilities: Iterable[Capability] | None = model.capabilities
    if capabilities is None:
        capabilities = _abilities(hints.scale, found, thinking, size) if only is None else only
    if chats:
        capabilities = {*capabilities, *_aptitudes(hints.scale, traits, thinking, quality, speed)}
    window = named.numbers.window or (family and family.window)
    filled: dict[str, Any] = {
        "capabilities": ordered(set(capabilities)),
        "context_window": model.context_window or window,
        "parameters": model.parameters or (size.all and in_words(size.all)),
        "billions": model.billions or size.all,
        "quantization": quantization,
        "family": model.family or (family and family.name),
        "speed": speed,
        "quality": quality,
    }
    # Of these two, one is but the other written differently.
    derived = {"billions", "parameters"} if model.billions or told.billions else set()
    guessed = tuple(
        name
        for name in FILLED
        if name in model.guessed
        or (getattr(model, name) is None and filled[name] is not None and name not in derived)
    )
    return msgspec.structs.replace(model, **filled, guessed=guessed)


def _thinking(
    family: Family | None, traits: Sequence[Trait], told: Sequence[Capability] | None
) -> Thinking:
    """Say whether it thinks first: what is made for it does, else the server knows best."""
    if any(trait.thinking == "always" for trait in traits):
        return "always"
    hinted: Thinking = "never" if family is None else family.thinking
    if hinted == "always" or told is None:
        return hinted
    return "can" if "reasoning" in told else "never"


def _sized(size: Size, family: Family | None) -> Size:
    """Complete a size from its family: of all parameters, and of the active ones."""
    if family is None:
        return size
    every = size.all or family.size
    if size.active is not None or every is None:
        return Size(every, size.active)
    near = (active for total, active in family.mixtures if abs(every / total - 1) < NEAR)
    active = next(near, None)
    if active is None and family.size and abs(every / family.size - 1) < NEAR:
        active = family.active
    return Size(every, active)


def _abilities(scale: Scale, found: Recognised, thinking: Thinking, size: Size) -> set[Capability]:
    """Say what a chat model can do of what servers tell, where this one does not."""
    tools: bool | None
    vision: bool | None
    if found.maker is None or found.family is None:
        # Most models of today call functions; one that does not just answers in words.
        tools, vision = (size.all or scale.tools_from) >= scale.tools_from, False
    else:
        tools = found.maker.tools if found.family.tools is None else found.family.tools
        vision = found.family.vision
    for trait in found.traits:
        tools = tools if trait.tools is None else trait.tools
        vision = vision or trait.vision
    able: set[Capability] = {"general"}
    able |= {"function_calling"} if tools else set()
    able |= {"vision"} if vision else set()
    able |= {"reasoning"} if thinking != "never" else set()
    return able


def _aptitudes(
    scale: Scale,
    traits: Iterable[Trait],
    thinking: Thinking,
    quality: Quality | None,
    speed: SpeedClass,
) -> set[Capability]:
    """Say what a chat model is good at, which no server tells."""
    good: set[Capability] = {trait.skill for trait in traits if trait.skill is not None}
    good |= {"code"} if quality and quality.code >= scale.skilled else set()
    good |= {"math"} if quality and quality.math >= scale.skilled else set()
    good |= {"reasoning"} if thinking == "always" else set()
    good |= {"speed"} if speed == "fast" else set()
    return good


def _quality(
    hints: Hints,
    family: Family | None,
    traits: Sequence[Trait],
    thinking: Thinking,
    size: Size,
    quantization: str | None,
) -> Quality:
    scale = hints.scale
    level = _interpolated(scale.points, size.effective or scale.unknown_size)
    level += scale.unknown_level if family is None else family.level
    level += sum(trait.level for trait in traits)
    weight = bits(quantization or "")
    level += next((points for limit, points in scale.bits if weight and weight <= limit), 0)
    extra: list[Family | Trait] = [*traits] if family is None else [family, *traits]
    thought = hints.thinking.get(thinking, Points())
    return Quality(
        _bent(level + thought.general),
        _bent(level + thought.code + sum(each.code for each in extra)),
        _bent(level + thought.math + sum(each.math for each in extra)),
        _bent(level + thought.reasoning + sum(each.reasoning for each in extra)),
    )


def _interpolated(points: Sequence[tuple[float, float]], size: float) -> float:
    """Read the line through the points at a size, on a logarithmic scale."""
    (low, left), *more = points
    for high, right in more:
        if size <= high or (high, right) == points[-1]:
            share = math.log(size / low) / math.log(high / low)
            return left + share * (right - left)
        low, left = high, right
    return left


def _bent(points: float) -> int:
    """Round to 0..100; the ends are approached and never passed, so that the order stays."""
    if points > HIGH:
        points = 100 - (100 - HIGH) * math.exp((HIGH - points) / (100 - HIGH))
    elif points < LOW:
        points = LOW * math.exp((points - LOW) / LOW)
    return round(points)


def _speed(speed: Speed, size: Size, thinking: Thinking) -> SpeedClass:
    """Sort by what each token takes; what always thinks first answers one class later."""
    computed = size.computed
    if computed is None:
        return "medium" if thinking != "always" else "slow"
    classes: tuple[SpeedClass, ...] = ("fast", "medium", "slow")
    rank = 0 if computed <= speed.fast else 1 if computed <= speed.medium else 2
    if (size.all or 0) > speed.fast_in_all:
        rank = max(rank, 1)
    return classes[min(rank + (thinking == "always"), 2)]


def _overridden(model: Model, facts: schema.ModelFacts) -> Model:
    changes: dict[str, Any] = {}
    able = set(model.capabilities or ())
    guessed = set(model.guessed)
    if facts.speed is not None:
        changes["speed"] = facts.speed
        able = able | {"speed"} if facts.speed == "fast" and "general" in able else able - {"speed"}
        changes["capabilities"] = ordered(able)
    if facts.capabilities is not None:
        changes["capabilities"] = ordered(set(facts.capabilities))
        guessed.discard("capabilities")
    if facts.context_window is not None:
        if facts.context_window < (model.context_window or 0):
            changes["served_window"] = facts.context_window
        else:
            changes |= {"context_window": facts.context_window, "served_window": None}
    if facts.quality is not None:
        changes["quality"] = Quality(*[facts.quality] * 4)
    if facts.cost is not None:
        changes["cost"] = facts.cost
    # Of capabilities that only lost or gained `speed`, the rest is as guessed as before.
    guessed -= changes.keys() - {"capabilities"}
    left = tuple(name for name in model.guessed if name in guessed)
    return msgspec.structs.replace(model, **changes, guessed=left)


@functools.lru_cache(maxsize=256)
def _glob(name: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, name.split("*"))), re.IGNORECASE | re.DOTALL)
