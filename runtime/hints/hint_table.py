"""The shipped table of model families: its shape, and finding a model in it by name. Pure.

`hints.toml` says what its numbers mean; `hints` makes use of what is found.
"""

import functools
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from portal.runtime.hints.model_names import LONGEST, NameFacts, read_name
from portal.shared.models import Capability

Thinking = Literal["never", "can", "always"]


class Points(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Points of quality on top of the rest, by kind of question."""

    general: int = 0
    code: int = 0
    math: int = 0
    reasoning: int = 0


class Family(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of models, of one generation."""

    name: str
    match: str = ""
    up_to: float = math.inf
    level: int = 0
    code: int = 0
    math: int = 0
    reasoning: int = 0
    window: int | None = None
    tools: bool | None = None
    vision: bool = False
    thinking: Thinking = "never"
    size: float | None = None
    active: float | None = None
    mixtures: tuple[tuple[float, float], ...] = ()


class Maker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Families whose names share a stem, and what holds for most of them."""

    stems: tuple[str, ...]
    families: tuple[Family, ...]
    tools: bool = False


class Trait(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A word in a name that says something whatever the family."""

    name: str
    match: str
    only: tuple[Capability, ...] | None = None
    skill: Literal["code", "math"] | None = None
    tools: bool | None = None
    vision: bool = False
    thinking: Thinking = "never"
    level: int = 0
    code: int = 0
    math: int = 0
    reasoning: int = 0


class Scale(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How size becomes quality."""

    points: tuple[tuple[float, float], ...]
    unknown_size: float
    unknown_level: int
    bits: tuple[tuple[float, int], ...]
    skilled: int
    tools_from: float


class Speed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How size becomes speed."""

    fast: float
    medium: float
    fast_in_all: float


class Hints(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The shipped file."""

    scale: Scale
    speed: Speed
    thinking: Mapping[Thinking, Points]
    makers: tuple[Maker, ...]
    traits: tuple[Trait, ...]


class Recognised(msgspec.Struct, frozen=True):
    """A model, as far as its name and its architecture tell it."""

    named: NameFacts
    maker: Maker | None
    family: Family | None
    traits: tuple[Trait, ...]


@functools.cache
def load_hints() -> Hints:
    """Read the shipped file, once."""
    text = Path(__file__).with_name("hints.toml").read_text(encoding="utf-8")
    return msgspec.toml.decode(text, type=Hints)


@functools.lru_cache(maxsize=2048)
def recognise(name: str, architecture: str, told: float | None) -> Recognised:
    """Find family and traits by a name, and by what the server calls its architecture.

    `told`: billions of parameters, where the server tells. Cached: models come again and again.
    """
    named = read_name(name)
    architecture = architecture[:LONGEST].lower().replace("_", "-")
    size = told or named.numbers.billions
    found = _family(named.text, size) or _family(architecture, size)
    text = f"{named.text} {architecture}"
    traits = tuple(trait for trait in load_hints().traits if _worded(trait).search(text))
    maker, family = found or (None, None)
    return Recognised(named, maker, family, traits)


def _family(text: str, size: float | None) -> tuple[Maker, Family] | None:
    for maker in load_hints().makers:
        for stem in maker.stems:
            if stem in text:
                break
        else:
            continue
        for family in maker.families:
            known = size or family.size or math.inf
            if known <= family.up_to and _named(family).search(text):
                return maker, family
    return None


@functools.cache
def _named(family: Family) -> re.Pattern[str]:
    """Compile a family's name as `hints.toml` explains it."""
    plain = re.sub(r"(?<=[a-z])(?=\d)", "-?", family.name).replace(".", "[.-]?")
    return re.compile(rf"(?<![a-z0-9])(?:{family.match or plain})(?![a-z0-9]|\.\d)")


@functools.cache
def _worded(trait: Trait) -> re.Pattern[str]:
    """Compile a trait's words, which may follow a digit: `qwen2.5vl`."""
    return re.compile(rf"(?<![a-z])(?:{trait.match})(?![a-z0-9])")
