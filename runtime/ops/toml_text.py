"""Values and keys written as TOML."""

import json
from pathlib import Path
from typing import Any


def toml_value(value: Any) -> str:
    """Write one value as TOML."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case Path():
            return toml_value(str(value))
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case tuple() | list():
            return "[" + ", ".join(toml_value(item) for item in value) + "]"
        case _:
            raise TypeError(f"no TOML for {type(value)}")


def toml_key(name: str) -> str:
    """Write one part of a TOML key, quoted where it must be."""
    bare = all(
        character.isascii() and (character.isalnum() or character in "_-") for character in name
    )
    return name if bare and name else toml_value(name)
