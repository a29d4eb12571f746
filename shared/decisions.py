"""What the router found out about a question, and what it decided: data to explain it with."""

from typing import Literal

import msgspec

from portal.shared.models import Capability

Category = Literal[
    "greeting",
    "question",
    "code",
    "math",
    "creative",
    "analysis",
    "translation",
    "summarization",
    "tool_use",
    "general",
]
Complexity = Literal["trivial", "simple", "moderate", "complex", "expert"]
Strategy = Literal["auto", "speed", "quality", "balanced", "cost_optimized"]


class Classification(msgspec.Struct, frozen=True):
    """What kind of question it is, and what answering it takes."""

    category: Category
    complexity: Complexity
    needs: tuple[Capability, ...] = ()
    """What a model must be able to do (vision, function_calling) or should be good at (code,
    math, reasoning), in the order of `Capability`."""
    tokens: int = 0
    """Upper bound of the prompt's tokens."""
    confidence: float = 1.0
    """From 0 to 1."""
    signals: tuple[str, ...] = ()
    """What it was told by, in words."""
    by: Literal["rules", "model"] = "rules"


class Candidate(msgspec.Struct, frozen=True):
    """A model that may answer, and why it stands where it does."""

    backend: str
    model: str
    reason: str
    score: float | None = None
    """From 0 to 1, where a strategy compared it with others."""

    @property
    def name(self) -> str:
        """`<backend>/<model>`."""
        return f"{self.backend}/{self.model}"


class PassedOver(msgspec.Struct, frozen=True):
    """A model that may not answer this, and why."""

    model: str
    """`<backend>/<model>`, or the name that a setting gives it."""
    reason: str


class Decision(msgspec.Struct, frozen=True):
    """Which models are tried for a request, in their order, and everything that led there."""

    requested: str
    """The model name as the caller wrote it."""
    workspace: str | None
    """The workspace or persona that answers; None for a raw model."""
    candidates: tuple[Candidate, ...]
    reason: str
    """Why the first stands first, in one line."""
    strategy: Strategy | None = None
    classification: Classification | None = None
    rule: str | None = None
    """Name of the rule of the settings that matched."""
    override: str | None = None
    """The model that `@model:` named."""
    passed_over: tuple[PassedOver, ...] = ()
