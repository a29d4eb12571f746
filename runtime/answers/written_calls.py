"""The notations of tool calls: from what stands between a dialect's marks to calls; pure.

Each reader gives the calls, or None where the text is anything but calls of offered tools: one
unknown name among several, and none of them is taken. JSON is read as it is meant to be, but for
line breaks within strings; where marks leave no doubt that a call is meant, what `literals`
describes is taken too.
"""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from portal.runtime.answers.literals import NotLiteralError, read_calls, read_literal, read_object
from portal.runtime.answers.pieces import BAR, Call, Offered

Calls = tuple[Call, ...]
Reader = Callable[[str, Offered], Calls | None]

NAMES = ("name", "tool_name")
ARGUMENTS = ("arguments", "parameters", "args")
CALL_KEYS = frozenset({*NAMES, *ARGUMENTS, "function", "type", "id", "tool_call_id", "tool_calls"})

_BETWEEN = re.compile(r"[\s;,]*")
_NAME = r"([^\W\d][\w.\-]*)"
_DEEPSEEK = re.compile(
    rf"\s*<{BAR}tool▁call▁begin{BAR}>([^<]*)<{BAR}tool▁sep{BAR}>(.*?)<{BAR}tool▁call▁end{BAR}>\s*",
    re.DOTALL,
)
_FENCED = re.compile(rf"{_NAME}\s*```\w*\n(.*)```", re.DOTALL)
_KIMI = re.compile(
    r"\s*<\|tool_call_begin\|>([^<:]*)(?::[\d\s]*)?<\|tool_call_argument_begin\|>"
    r"(.*?)<\|tool_call_end\|>\s*",
    re.DOTALL,
)
_GEMMA = re.compile(rf"\s*call:{_NAME}\s*(?=\{{)")


def json_calls(body: str, offered: Offered) -> Calls | None:
    """Read objects or lists of calls in JSON: `{"name": …, "arguments": {…}}`."""
    values = _json_values(body)
    if values is None:
        value = _nearly_json(body)
        values = None if value is None else [value]
    return None if values is None else _calls(values, offered)


def bare_json_calls(body: str, offered: Offered) -> Calls | None:
    """Read calls that no mark tells from an answer in JSON: no key may be strange to a call."""
    values = _json_values(body)
    if values is None:
        return None
    flat = [each for value in values for each in (value if isinstance(value, list) else [value])]
    for value in flat:
        if not isinstance(value, dict) or not CALL_KEYS.issuperset(value):
            return None
        function = value.get("function")
        inner = function if isinstance(function, dict) else value
        has_arguments = "tool_calls" in value or any(key in inner for key in ARGUMENTS)
        if not has_arguments or not CALL_KEYS.issuperset(inner):
            return None  # half a call, or the description of a tool
    return _calls(flat, offered)


def python_calls(body: str, offered: Offered) -> Calls | None:
    """Read calls in Python: `[get_weather(city="Paris")]`."""
    try:
        found = read_calls(body)
    except NotLiteralError:
        return None
    return _all(named(name, arguments, offered) for name, arguments in found)


def deepseek_calls(body: str, offered: Offered) -> Calls | None:
    """Read DeepSeek's calls: name and JSON, or its older `function`, name and fenced JSON."""
    calls: list[Call | None] = []
    for found in _in_turn(_DEEPSEEK, body):
        if found is None:
            return None
        name, written = found[1], found[2]
        if name.strip() == "function":
            older = _FENCED.fullmatch(written.strip())
            if older is None:
                return None
            name, written = older[1], older[2]
        calls.append(named(name, written, offered))
    return _all(calls)


def kimi_calls(body: str, offered: Offered) -> Calls | None:
    """Read Kimi's calls: `functions.name:0` and JSON."""
    found = list(_in_turn(_KIMI, body))
    return _all(None if each is None else named(each[1], each[2], offered) for each in found)


def gemma_calls(body: str, offered: Offered) -> Calls | None:
    """Read `call:name{key:value}`, strings in Gemma's own quotes."""
    calls, at = [], 0
    while at < len(body.rstrip()):
        head = _GEMMA.match(body, at)
        if head is None:
            return None
        try:
            arguments, at = read_object(body, head.end())
        except NotLiteralError:
            return None
        calls.append(named(head[1], arguments, offered))
    return _all(calls)


def named(name: str, arguments: Any, offered: Offered) -> Call | None:
    """Make a call of a name and its arguments: an object, JSON text of one, or nothing."""
    known = offered.known(name)
    if isinstance(arguments, str):
        arguments = _one(arguments) if arguments.strip() else {}
    elif arguments is None:
        arguments = {}
    if known is None or not isinstance(arguments, dict):
        return None
    try:
        text = json.dumps(arguments, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode("utf-8")
    except (ValueError, RecursionError):
        return None  # infinite, half a character, or deeper than anybody can read
    return Call(known, text)


def same_call(call: Call, name: str, *arguments: str) -> bool:
    """Tell whether a call is the one that was told in pieces of its arguments."""
    if call.name != name:
        return False
    told = _json_values("".join(arguments)) or [{}]
    return told == _json_values(call.arguments)


def _calls(values: list[Any], offered: Offered) -> Calls | None:
    found: list[Call | None] = []
    for value in values:
        if isinstance(value, list):
            found.extend(_call(each, offered) for each in value)
        elif isinstance(value, dict) and isinstance(value.get("tool_calls"), list):
            found.extend(_call(each, offered) for each in value["tool_calls"])
        else:
            found.append(_call(value, offered))
    return _all(found)


def _call(value: Any, offered: Offered) -> Call | None:
    if not isinstance(value, dict):
        return None
    function = value.get("function")
    inner = function if isinstance(function, dict) else value
    name = next((inner[key] for key in NAMES if key in inner), function)
    arguments = next((inner[key] for key in ARGUMENTS if key in inner), None)
    return named(name, arguments, offered) if isinstance(name, str) else None


def _all(calls: Iterable[Call | None]) -> Calls | None:
    found = tuple(calls)
    sure = tuple(call for call in found if call is not None)
    return sure if sure and len(sure) == len(found) else None


def _in_turn(pattern: re.Pattern[str], body: str) -> Iterable[re.Match[str] | None]:
    """Give match after match; None for anything between or behind them."""
    at = 0
    while at < len(body):
        found = pattern.match(body, at)
        yield found
        if found is None:
            return
        at = found.end()


def refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(strict=False, parse_constant=refuse)


def _json_values(body: str) -> list[Any] | None:
    """Read JSON values, one or several with blank space, `;` or `,` between; None if not JSON."""
    values: list[Any] = []
    at = _skipped(body, 0)
    try:
        while at < len(body):
            value, at = _decoder.raw_decode(body, at)
            values.append(value)
            at = _skipped(body, at)
    except (ValueError, RecursionError):
        return None
    return values or None


def _skipped(body: str, at: int) -> int:
    found = _BETWEEN.match(body, at)
    return found.end() if found is not None else at


def _nearly_json(text: str) -> Any:
    try:
        return read_literal(text)
    except ValueError:
        return None


def _one(text: str) -> Any:
    """Read one value, JSON or nearly; None if it is neither."""
    values = _json_values(text)
    return _nearly_json(text) if values is None else values[0] if len(values) == 1 else None
