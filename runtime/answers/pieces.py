"""What a model's text falls into. The sources of all pieces, joined, are the text itself."""

from collections.abc import Sequence
from enum import Enum, auto
from typing import NamedTuple

from portal.shared.turns import ToolSpec

LONGEST_CALL = 64 * 1024
"""Characters that may be held back because they could become a call."""

BAR = "\N{FULLWIDTH VERTICAL LINE}"
"""The bar of DeepSeek's marks, which is not the one of the keyboard."""


class Kind(Enum):
    """What a piece is to the reader."""

    TEXT = auto()
    THOUGHT = auto()
    CALL = auto()
    FRAME = auto()
    """Tags and the blank space beside them: shown to nobody."""


class Call(NamedTuple):
    """A call of an offered tool; `arguments` is the JSON text of an object."""

    name: str
    arguments: str


class Piece(NamedTuple):
    """A stretch of the model's text, as it was written."""

    kind: Kind
    source: str
    calls: tuple[Call, ...] = ()


class Found(NamedTuple):
    """Calls that a source begins with, and the length of what they were written as."""

    end: int
    calls: tuple[Call, ...]


class Unclear(Enum):
    """Why a source that begins like a call is none."""

    MORE = auto()
    """The rest of it has to be seen first."""
    NOT = auto()
    """It is something else, whatever follows."""


Verdict = Found | Unclear


class Offered:
    """The tools that were offered, by name."""

    def __init__(self, tools: Sequence[ToolSpec]) -> None:
        self._tools = {tool.name: tool for tool in tools if tool.name}

    def __bool__(self) -> bool:
        return bool(self._tools)

    def known(self, name: str) -> str | None:
        """Give the tool's own name for one as models write it, `functions.x` included."""
        name = name.strip()
        if name in self._tools:
            return name
        short = name.removeprefix("functions.")
        return short if short in self._tools else None

    def may_become(self, beginning: str) -> bool:
        """Tell whether a name may begin so."""
        return any(
            name.startswith(beginning) or f"functions.{name}".startswith(beginning)
            for name in self._tools
        )

    def declared(self, name: str, parameter: str) -> set[str]:
        """Give the JSON types that a tool's schema allows a parameter; none where it is silent."""
        properties = self._tools[name].parameters.get("properties")
        schema = properties.get(parameter) if isinstance(properties, dict) else None
        return _types(schema) if isinstance(schema, dict) else set()


def _types(schema: dict[str, object], depth: int = 4) -> set[str]:
    found: set[str] = set()
    match schema.get("type"):
        case str(name):
            found.add(name)
        case list(names):
            found.update(name for name in names if isinstance(name, str))
    for key in ("anyOf", "oneOf"):
        options = schema.get(key)
        if isinstance(options, list) and depth:
            for option in options:
                if isinstance(option, dict):
                    found |= _types(option, depth - 1)
    values = schema.get("enum")
    if not found and isinstance(values, list) and all(isinstance(value, str) for value in values):
        found.add("string")
    return found
