"""Labelled prompts, written for the purpose, and how well the classifier does on them.

`labelled.jsonl` has one prompt a line. `split`: the rules were tuned on `tune`; `held` was kept
back, a third by a hash of the id, before there was a rule; `fresh` was written afterwards, in
rounds, each scored as it was before anything was changed because of it (`docs/classifier.md`).
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, get_args

import msgspec

from portal.runtime.classifier.classifier import classify
from portal.shared.decisions import Category, Classification, Complexity
from portal.shared.messages import ImagePart, Message, TextPart

Route = Literal["code", "vision", "reasoning", "other"]
"""Where a sensible person would send it: a coder, a model that sees, one that thinks, any."""
Split = Literal["tune", "held", "fresh"]
ROUTES: tuple[Route, ...] = get_args(Route)
LEVELS: tuple[Complexity, ...] = get_args(Complexity)
LABELLED = Path(__file__).with_name("labelled.jsonl")
IMAGE = ImagePart("data:image/png;base64,iVBORw0KGgo=")


class Prompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A prompt with what people would say about it."""

    id: str
    text: str
    category: Category
    complexity: Complexity
    route: Route
    split: Split
    image: bool
    trap: str = ""
    """What it looks like and is not."""
    before: tuple[str, str] | None = None
    """The question and the answer that it goes on with."""
    round: int = 0
    """Of the fresh ones."""

    @property
    def messages(self) -> list[Message]:
        """The conversation; the image is in its first message."""
        texts = [self.text] if self.before is None else [*self.before, self.text]
        built = [Message("assistant" if at % 2 else "user", each) for at, each in enumerate(texts)]
        if self.image:
            built[0] = Message("user", (TextPart(texts[0]), IMAGE))
        return built


class Judged(msgspec.Struct, frozen=True):
    """A prompt with what the classifier said about it."""

    prompt: Prompt
    found: Classification

    @property
    def route(self) -> Route:
        """Where the classification leads."""
        return route_of(self.found)


def labelled() -> list[Prompt]:
    """Read all labelled prompts."""
    lines = LABELLED.read_text(encoding="utf-8").splitlines()
    return [msgspec.json.decode(line, type=Prompt) for line in lines]


def split_of(prompt_id: str) -> Split:
    """Divide the prompts that came before the rules: a third is held back, for good."""
    number = int(hashlib.sha256(prompt_id.encode()).hexdigest(), 16)
    return "held" if number % 3 == 0 else "tune"


def judged(prompts: Iterable[Prompt]) -> list[Judged]:
    """Classify each prompt."""
    return [Judged(prompt, classify(prompt.messages)) for prompt in prompts]


def route_of(found: Classification) -> Route:
    """Read the route from what a model needs: seeing before programming before thinking."""
    if "vision" in found.needs:
        return "vision"
    if "code" in found.needs:
        return "code"
    return "reasoning" if "reasoning" in found.needs else "other"


def share(rows: Sequence[Judged], right: int) -> float:
    """Divide, where there is anything to divide by."""
    return right / len(rows) if rows else 1.0


def route_accuracy(rows: Sequence[Judged]) -> float:
    """Tell the share of prompts that are sent where they belong."""
    return share(rows, sum(row.route == row.prompt.route for row in rows))


def category_accuracy(rows: Sequence[Judged]) -> float:
    """Tell the share of prompts whose category is right."""
    return share(rows, sum(row.found.category == row.prompt.category for row in rows))


def complexity_accuracy(rows: Sequence[Judged], within: int = 0) -> float:
    """Tell the share of prompts whose complexity is right, or wrong by so many levels at most."""
    return share(
        rows,
        sum(
            abs(LEVELS.index(row.found.complexity) - LEVELS.index(row.prompt.complexity)) <= within
            for row in rows
        ),
    )


def confusion(rows: Sequence[Judged]) -> Counter[tuple[Route, Route]]:
    """Count (where it belongs, where it is sent)."""
    return Counter((row.prompt.route, row.route) for row in rows)


def precision(rows: Sequence[Judged], route: Route) -> float:
    """Tell how much of what is sent there belongs there."""
    sent = [row for row in rows if row.route == route]
    return share(sent, sum(row.prompt.route == route for row in sent))


def recall(rows: Sequence[Judged], route: Route) -> float:
    """Tell how much of what belongs there is sent there."""
    belongs = [row for row in rows if row.prompt.route == route]
    return share(belongs, sum(row.route == route for row in belongs))
