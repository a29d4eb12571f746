"""Reading model outputs in tests: the corpus of `tests/answers`, and readers run over it."""

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from portal.runtime.answers.reading import AnswerReader
from portal.shared.turns import Finish, ModelEvent, Reasoning, Text, ToolCall, ToolSpec


def _schema(**types: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": t} for name, t in types.items()}}


TOOLS = (
    ToolSpec("get_weather", "Weather of a city", _schema(city="string", days="integer")),
    ToolSpec("search", "Search the web", _schema(query="string", limit="integer")),
    ToolSpec("write_file", "Write a file", _schema(path="string", content="string")),
    ToolSpec("list_files"),
)


class Case(NamedTuple):
    """What a model wrote, and what it is to be read as."""

    name: str
    text: str
    shown: str
    thought: str
    calls: list[tuple[str, dict[str, Any]]]
    starts_in_thought: bool = False
    offered: bool = True

    @property
    def tools(self) -> Sequence[ToolSpec]:
        return TOOLS if self.offered else ()


class Read(NamedTuple):
    """An answer as it was read, joined."""

    shown: str
    thought: str
    calls: list[tuple[str, Any]]
    finish: str
    misplaced: int


def corpus(name: str) -> list[Case]:
    """Load the cases of `tests/answers/<name>.json`."""
    path = Path(__file__).parent / "answers" / f"{name}.json"
    cases = [Case(**fields) for fields in json.loads(path.read_text(encoding="utf-8"))]
    return [case._replace(calls=[(name, given) for name, given in case.calls]) for case in cases]


def cut(text: str, at: Iterable[int]) -> list[str]:
    """Cut a text at places of it."""
    places = [0, *sorted(place for place in set(at) if 0 < place < len(text)), len(text)]
    return [text[start:end] for start, end in pairwise(places)]


def run(reader: AnswerReader, events: Iterable[ModelEvent]) -> list[ModelEvent]:
    """Feed events and end."""
    given = [each for event in events for each in reader.feed(event)]
    return [*given, *reader.end()]


def read(
    parts: Iterable[str], tools: Sequence[ToolSpec] = TOOLS, *, starts_in_thought: bool = False
) -> Read:
    """Read text that comes in parts, and a Finish."""
    reader = AnswerReader(tools, starts_in_thought=starts_in_thought)
    events = run(reader, [*map(Text, parts), Finish("stop")])
    return Read(*joined(events), reader.misplaced)


def joined(events: Sequence[ModelEvent]) -> tuple[str, str, list[tuple[str, Any]], str]:
    """Join texts, thoughts, calls and why it finished."""
    calls: dict[int, list[str]] = {}
    for event in events:
        if isinstance(event, ToolCall):
            call = calls.setdefault(event.index, [event.name, ""])
            call[1] += event.arguments
    return (
        "".join(event.text for event in events if isinstance(event, Text)),
        "".join(event.text for event in events if isinstance(event, Reasoning)),
        [(name, json.loads(given or "{}")) for _, (name, given) in sorted(calls.items())],
        next((event.reason for event in events if isinstance(event, Finish)), ""),
    )
