"""One value as it was written, made into the type of its field, or a fault in words."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from portal.runtime.ops import checks
from portal.runtime.ops.fields import Field, Key, words
from portal.runtime.ops.sources import Entry

_LARGEST_INT = 2**31 - 1


class Wrong(Exception):
    """A value is not what its field allows; the message says what was expected."""


def convert(key: Key, field: Field, entry: Entry, home: Path | None) -> Any:
    """Make an entry's value into its field's type, checked. Raises Wrong.

    An empty text means unset where the field may be unset. Text of a variable is read by the
    type: lists as JSON or separated by commas, secrets and other texts as they are.
    """
    value = str(entry.value) if isinstance(entry.value, Path) else entry.value
    if field.optional and value == "":
        return None
    if isinstance(value, str) and not _is_plain(value):
        raise Wrong("text without control characters, in UTF-8")
    value = _from_text(field, value) if entry.text and isinstance(value, str) else value
    if isinstance(field.type, inspect.CustomType):
        value = _path(value, entry.folder, home)
    else:
        value = _converted(value, field, entry)
    check = checks.CHECKS.get(key)
    if value is not None and check is not None and (expected := check(value)):
        raise Wrong(expected)
    return value


def _converted(value: Any, field: Field, entry: Entry) -> Any:
    """Let msgspec convert a value, and rule out what it lets through."""
    try:
        value = msgspec.convert(value, field.annotation, strict=not entry.text)
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        raise Wrong(words(field.type) + _how(field, entry)) from error
    if isinstance(value, float) and not math.isfinite(value):
        raise Wrong(words(field.type))
    if isinstance(value, int) and abs(value) > _LARGEST_INT:
        bound = f"at most {_LARGEST_INT}" if value > 0 else f"at least -{_LARGEST_INT}"
        raise Wrong(f"{words(field.type)}, {bound}")
    if isinstance(value, tuple) and not all(_is_plain(item) for item in value):
        raise Wrong("texts without control characters")
    return value


def tables(entry: Entry) -> Sequence[dict[str, Any]]:
    """Take the tables of a list such as `[[backends]]`. Raises Wrong."""
    value = entry.value
    if entry.text and isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (ValueError, RecursionError) as error:
            raise Wrong("a JSON list of objects") from error
    if isinstance(value, list | tuple) and all(isinstance(item, dict) for item in value):
        return value
    raise Wrong("a JSON list of objects" if entry.text else "a list of tables")


def _from_text(field: Field, text: str) -> Any:
    if isinstance(field.type, inspect.StrType | inspect.CustomType):
        return text
    text = text.strip()
    if not isinstance(field.type, inspect.VarTupleType):
        return text
    if text.startswith("["):
        try:
            return msgspec.json.decode(text, type=list[str])
        except (ValueError, RecursionError) as error:
            raise Wrong("a list: JSON, or separated by commas") from error
    return [item.strip() for item in text.split(",") if item.strip()]


def _how(field: Field, entry: Entry) -> str:
    listed = isinstance(field.type, inspect.VarTupleType)
    return ": JSON, or separated by commas" if listed and entry.text else ""


def _path(value: Any, folder: Path, home: Path | None) -> Path:
    if not isinstance(value, str) or not value.strip():
        raise Wrong("a path")
    if value.startswith(("$", "%")):
        raise Wrong("a path: variables are not replaced, `~` is the home directory")
    if not value.startswith("~"):
        return folder / value
    if value != "~" and not value.startswith("~/"):
        raise Wrong("a path: `~/…` is your own home directory, others are written in full")
    if home is None:
        raise Wrong("a path without `~`, since HOME is not set")
    return home / value[2:]


def _is_plain(text: str) -> bool:
    """Tell whether a text is UTF-8 and has no control characters but tabs and line breaks."""
    return all(
        character in "\t\n\r" or not (character < " " or "\ud800" <= character <= "\udfff")
        for character in text
    )
