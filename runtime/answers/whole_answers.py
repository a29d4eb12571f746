"""Calls that no mark tells from an answer: only an answer that is nothing else is taken; pure."""

import re
from collections.abc import Callable
from typing import Protocol

from portal.runtime.answers import written_calls as written
from portal.runtime.answers.pieces import Found, Offered, Unclear, Verdict

FENCES = frozenset({"", "json", "tool_call", "tool_code", "tool", "function_call", "python"})
"""What may stand behind the marks of a fence with calls in it."""

_KEY = re.compile(r'\s*(?:\[\s*)?\{\s*"([^"]*)("?)')
_NAME_VALUE = re.compile(r'\s*:\s*"([^"]*)("?)')
_JSON_START = re.compile(r'\s*(?:\[\s*)?(?:\{\s*(?:"[^"]*"?)?)?')
_PYTHON_START = re.compile(r"\s*\[?\s*([\w.\-]*)(\s*\()?")
_BETWEEN = re.compile(r"[\s;,]*")
_CODE = re.compile(r'["\[\]{}]')
_QUOTED = re.compile(r'["\\]')
_INFO = re.compile(r"```[ \t]*(\w*)[ \t]*\r?\n")
_LONGEST_INFO = 40
LONGEST_START = 512
"""Characters within which it must be clear that a would-be call begins like one."""


class Reading(Protocol):
    """A would-be call under way."""

    def read(self, source: str, *, final: bool) -> Verdict:
        """Say what `source` begins with; `final` when nothing follows it."""
        ...


class JsonEnd:
    """Looks for the end of an object or a list, each character once however the text comes."""

    def __init__(self, start: int) -> None:
        self._at = start
        self._depth = 0
        self._quoted = False

    def seek(self, source: str) -> int | None:
        """Give where the value ends, None while it goes on."""
        while True:
            found = (_QUOTED if self._quoted else _CODE).search(source, self._at)
            if found is None:
                self._at = max(self._at, len(source))
                return None
            sign = found[0]
            if sign == "\\":
                self._at = found.end() + 1
                continue
            self._at = found.end()
            if sign == '"':
                self._quoted = not self._quoted
            elif sign in "[{":
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth <= 0:
                    return self._at


class BareJson:
    """Objects such as `{"name": …, "parameters": {…}}`, and lists of them."""

    def __init__(self, offered: Offered) -> None:
        self._offered = offered
        self._likely = False
        self._end = JsonEnd(0)
        self._between: int | None = None

    def read(self, source: str, *, final: bool) -> Verdict:
        if not self._likely:
            verdict = judge_start(source, 0, begins_json, self._offered)
            if verdict is not None:
                return Unclear.NOT if final else verdict
            self._likely = True
        if not self._goes_on(source):
            return Unclear.NOT
        if not final:
            return Unclear.MORE
        calls = written.bare_json_calls(source, self._offered)
        return Unclear.NOT if calls is None else Found(len(source), calls)

    def _goes_on(self, source: str) -> bool:
        """Tell whether there is JSON and nothing else as far as the source goes."""
        while True:
            if self._between is not None:
                blank = _BETWEEN.match(source, self._between)
                self._between = blank.end() if blank is not None else self._between
                if self._between == len(source):
                    return True
                if source[self._between] not in "{[":
                    return False
                self._end, self._between = JsonEnd(self._between), None
            end = self._end.seek(source)
            if end is None:
                return True
            self._between = end


class BarePython:
    """A list of calls in Python, as Llama 4 writes them: `[get_weather(city="Paris")]`."""

    def __init__(self, offered: Offered) -> None:
        self._offered = offered
        self._likely = False

    def read(self, source: str, *, final: bool) -> Verdict:
        if not self._likely:
            verdict = judge_start(source, 0, begins_python, self._offered)
            if verdict is not None:
                return Unclear.NOT if final else verdict
            self._likely = True
        if not final:
            return Unclear.MORE
        calls = written.python_calls(source, self._offered)
        return Unclear.NOT if calls is None else Found(len(source), calls)


class PythonTag:
    """Llama's mark, behind which there is nothing but calls, in JSON or in Python."""

    def __init__(self, mark: str, offered: Offered) -> None:
        self._start = len(mark)
        self._offered = offered
        self._likely = False

    def read(self, source: str, *, final: bool) -> Verdict:
        if not self._likely:
            verdict = judge_start(source, self._start, begins_either, self._offered)
            if verdict is not None:
                return Unclear.NOT if final else verdict
            self._likely = True
        if not final:
            return Unclear.MORE
        body = source[self._start :].rstrip().removesuffix("<|eom_id|>").removesuffix("<|eot_id|>")
        calls = written.json_calls(body, self._offered)
        calls = calls or written.python_calls(body, self._offered)
        return Unclear.NOT if calls is None else Found(len(source), calls)


class Fenced:
    """A block of code that is the whole answer, and calls are the whole block."""

    def __init__(self, offered: Offered) -> None:
        self._offered = offered
        self._body = 0
        self._likely = False
        self._searched = 0

    def read(self, source: str, *, final: bool) -> Verdict:
        if not self._body:
            opening = source[:_LONGEST_INFO]
            info = _INFO.match(opening)
            if info is None:
                open_yet = len(opening) < _LONGEST_INFO and not final and _may_be_info(opening)
                return Unclear.MORE if open_yet else Unclear.NOT
            if info[1] not in FENCES:
                return Unclear.NOT
            self._body = self._searched = info.end()
        if not self._likely:
            verdict = judge_start(source, self._body, begins_either, self._offered)
            if verdict is not None:
                return Unclear.NOT if final else verdict
            self._likely = True
        end = source.find("\n```", self._searched)
        self._searched = end if end >= 0 else max(self._searched, len(source) - 3)
        if end >= 0 and source[end + 4 :].strip():
            return Unclear.NOT
        if not final:
            return Unclear.MORE
        # A block that was never closed is as whole as the answer.
        body = source[self._body :].rstrip().removesuffix("```")
        calls = written.bare_json_calls(body, self._offered)
        calls = calls or written.python_calls(body, self._offered)
        return Unclear.NOT if calls is None else Found(len(source), calls)


def _may_be_info(opening: str) -> bool:
    word = opening[3:].strip(" \t\r")
    return any(name.startswith(word) for name in FENCES)


def begins_either(body: str, offered: Offered) -> bool | None:
    """Tell whether a body begins as calls in JSON or in Python do; None while that is open."""
    ways = begins_json(body, offered), begins_python(body, offered)
    return True if True in ways else None if None in ways else False


def judge_start(
    source: str, start: int, begins: Callable[[str, Offered], bool | None], offered: Offered
) -> Unclear | None:
    """Judge how a source begins behind `start`; None when it begins like a call."""
    likely = begins(source[start : start + LONGEST_START], offered)
    if likely is None and len(source) - start < LONGEST_START:
        return Unclear.MORE
    return None if likely else Unclear.NOT


def begins_json(body: str, offered: Offered) -> bool | None:
    """Tell whether JSON begins as a call does: by its first key, by its name where that is first.

    None while that is open. An answer in JSON is thereby let go after a few characters.
    """
    key = _KEY.match(body)
    if key is None:
        return None if _JSON_START.fullmatch(body) else False
    if not key[2]:
        return None if any(each.startswith(key[1]) for each in written.CALL_KEYS) else False
    if key[1] not in written.CALL_KEYS:
        return False
    if key[1] not in written.NAMES:
        return True
    value = _NAME_VALUE.match(body, key.end())
    if value is None:
        return None if body[key.end() :].strip() in ("", ":") else False
    if value[2]:
        return offered.known(value[1]) is not None
    return None if offered.may_become(value[1]) else False


def begins_python(body: str, offered: Offered) -> bool | None:
    """Tell whether a body begins with a call of an offered tool in Python; None while open."""
    start = _PYTHON_START.match(body)
    if start is None:
        return False
    if start[2]:
        return offered.known(start[1]) is not None
    if start.end() < len(body) and body[start.end() :].strip():
        return False
    return None if offered.may_become(start[1]) else False


def begin_unmarked(text: str, start: int, offered: Offered) -> Reading | Unclear:
    """Choose the reading of an answer that begins at `start` without a mark.

    MORE while that is open, NOT where the text begins like no call.
    """
    if text[start] == "{":
        return BareJson(offered)
    if text[start] == "[":
        following = text[start + 1 :].lstrip()[:1]
        if not following:
            return Unclear.MORE
        return BareJson(offered) if following == "{" else BarePython(offered)
    if text.startswith("```", start):
        return Fenced(offered)
    return Unclear.MORE if "```".startswith(text[start:]) else Unclear.NOT
