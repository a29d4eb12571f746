"""Values that are nearly JSON, as models write them; pure.

Beyond JSON these are taken, and nothing else: strings in single quotes or in the marks of Gemma,
line breaks within strings, keys without quotes, a comma before a closing bracket, and Python's
True, False and None. None of them can be read in two ways.
"""

import re
from typing import Any

_DEEPEST = 64
_BLANK = re.compile(r"\s*")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,300})(?:\.\d{1,300})?(?:[eE][+-]?\d{1,3})?(?![\w.])")
_WORD = re.compile(r"[^\W\d][\w\-]*")
_NAME = re.compile(r"[^\W\d][\w.\-]*")
_QUOTES = ('"', "'", '<|"|>', "<escape>")
_PLAIN = {'"': re.compile(r'[^"\\]*'), "'": re.compile(r"[^'\\]*")}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"} | {c: c for c in "\"'\\/"}
_WORDS: dict[str, Any] = {
    "true": True,
    "false": False,
    "null": None,
    "True": True,
    "False": False,
    "None": None,
}


class NotLiteralError(ValueError):
    """The text is not such a value."""


def read_literal(text: str) -> Any:
    """Read one value that fills the text. Raises NotLiteralError."""
    cursor = _Cursor(text)
    value = cursor.value(0)
    cursor.finish()
    return value


def read_calls(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Read Python calls by keyword: `[a(x=1), b()]`, or one on each line.

    Raises NotLiteralError.
    """
    cursor = _Cursor(text)
    listed = cursor.take("[")
    calls = []
    while True:
        calls.append((cursor.match(_NAME), cursor.pairs("(", "=", ")", 1)))
        comma = cursor.take(",")
        if listed and cursor.take("]"):
            break
        if listed and not comma:
            raise NotLiteralError
        if not listed and not comma and cursor.is_done():
            break
    cursor.finish()
    return calls


def read_object(text: str, start: int) -> tuple[dict[str, Any], int]:
    """Read an object that begins at `start`; give it and where it ends.

    Raises NotLiteralError.
    """
    cursor = _Cursor(text, start)
    return cursor.pairs("{", ":", "}", 1), cursor.at


class _Cursor:
    def __init__(self, text: str, at: int = 0) -> None:
        self.text = text
        self.at = at

    def take(self, literal: str) -> bool:
        """Step over blank space and then a literal, where it stands."""
        self._skip()
        if not self.text.startswith(literal, self.at):
            return False
        self.at += len(literal)
        return True

    def match(self, pattern: re.Pattern[str]) -> str:
        self._skip()
        found = pattern.match(self.text, self.at)
        if found is None or not found[0]:
            raise NotLiteralError
        self.at = found.end()
        return found[0]

    def is_done(self) -> bool:
        self._skip()
        return self.at == len(self.text)

    def finish(self) -> None:
        if not self.is_done():
            raise NotLiteralError

    def value(self, depth: int) -> Any:
        self._skip()
        for quote in _QUOTES:
            if self.text.startswith(quote, self.at):
                return self._string(quote)
        match self.text[self.at : self.at + 1]:
            case "{":
                return self.pairs("{", ":", "}", depth + 1)
            case "[":
                return self._items(depth + 1)
        number = _NUMBER.match(self.text, self.at)
        if number is not None:
            self.at = number.end()
            written = number[0]
            return int(written) if written.lstrip("-").isdigit() else float(written)
        word = self.match(_WORD)
        if word not in _WORDS:
            raise NotLiteralError
        return _WORDS[word]

    def pairs(self, opening: str, between: str, closing: str, depth: int) -> dict[str, Any]:
        if depth > _DEEPEST or not self.take(opening):
            raise NotLiteralError
        found: dict[str, Any] = {}
        while not self.take(closing):
            key = self._key()
            if not self.take(between):
                raise NotLiteralError
            found[key] = self.value(depth)
            if not self.take(",") and not self.text.startswith(closing, self.at):
                raise NotLiteralError
        return found

    def _items(self, depth: int) -> list[Any]:
        if depth > _DEEPEST or not self.take("["):
            raise NotLiteralError
        found = []
        while not self.take("]"):
            found.append(self.value(depth))
            if not self.take(",") and not self.text.startswith("]", self.at):
                raise NotLiteralError
        return found

    def _key(self) -> str:
        self._skip()
        for quote in _QUOTES:
            if self.text.startswith(quote, self.at):
                return self._string(quote)
        return self.match(_WORD)

    def _string(self, quote: str) -> str:
        self.at += len(quote)
        if quote not in _PLAIN:
            end = self.text.find(quote, self.at)
            if end < 0:
                raise NotLiteralError
            written, self.at = self.text[self.at : end], end + len(quote)
            return written
        parts = []
        while True:
            plain = _PLAIN[quote].match(self.text, self.at)
            if plain is None or plain.end() == len(self.text):
                raise NotLiteralError
            parts.append(plain[0])
            self.at = plain.end() + 1
            if self.text[plain.end()] == quote:
                return _whole("".join(parts))
            parts.append(self._escape())

    def _escape(self) -> str:
        sign = self.text[self.at : self.at + 1]
        self.at += 1
        if sign == "u":
            digits = self.text[self.at : self.at + 4]
            self.at += 4
            if re.fullmatch(r"[0-9a-fA-F]{4}", digits) is None:
                raise NotLiteralError
            return chr(int(digits, 16))
        if sign not in _ESCAPES:
            raise NotLiteralError
        return _ESCAPES[sign]

    def _skip(self) -> None:
        found = _BLANK.match(self.text, self.at)
        if found is not None:
            self.at = found.end()


def _whole(text: str) -> str:
    """Join the halves of characters that were escaped in two; half a character is none."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise NotLiteralError from None
