"""Small text files of the user, read with faults that name the line and column."""

import re
import tomllib
from pathlib import Path
from typing import Any

from portal.shared.errors import ConfigurationError

LARGEST_FILE = 1024 * 1024
_TOML_PLACE = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)


def read_text(path: Path, shown: str) -> str:
    """Read a small UTF-8 file, with or without a byte order mark.

    Raises FileNotFoundError or NotADirectoryError when there is none, else ConfigurationError.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except IsADirectoryError as error:
        raise ConfigurationError(f"{shown} is a directory, expected a file") from error
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ConfigurationError(f"{shown} cannot be read: {reason}") from error
    if len(raw) > LARGEST_FILE:
        raise ConfigurationError(f"{shown} is over {LARGEST_FILE} bytes, expected a small text")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{shown}: line {line} is not UTF-8 text") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ConfigurationError(f"{shown}: line {line} has a NUL character, expected text")
    return text


def parse_toml(text: str, shown: str) -> dict[str, Any]:
    """Parse TOML. Raises ConfigurationError with line and column."""
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ConfigurationError(f"{shown} is nested too deeply") from error
    except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
        match = _TOML_PLACE.fullmatch(str(error))
        if match is None:
            raise ConfigurationError(f"{shown} is not valid TOML: {error}") from error
        reason, line, column = match.groups()
        place = f"line {line}, column {column}" if line else "end of file"
        reason = reason[:1].lower() + reason[1:]
        raise ConfigurationError(f"{shown}: {place}: not valid TOML: {reason}") from error


def shown(path: Path, cwd: Path) -> str:
    """Name a file for people: relative to the working directory where it lies below it."""
    name = str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)
    return name if name.isprintable() else ascii(name)[1:-1]
