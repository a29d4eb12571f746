"""Tool calls written as elements with a tag for each argument; pure.

Their values carry no type: the tool's schema says which are text, and where it is silent a value
that reads as JSON is taken as that.
"""

import json
import re
from typing import Any

from portal.runtime.answers.literals import read_literal
from portal.runtime.answers.pieces import BAR, Offered
from portal.runtime.answers.written_calls import Calls, json_calls, named, refuse

_FUNCTION = re.compile(r"\s*<function=([^>\n]+)>")
_PARAMETER = re.compile(
    r"\s*<parameter=([^>\n]+)>(.*?)</parameter>(?=\s*(?:<parameter=|</function>|\Z))", re.DOTALL
)
_FUNCTION_END = re.compile(r"\s*</function>\s*")
_INVOKE = re.compile(r"\s*<invoke name=\"([^\"\n]+)\"\s*>")
_NAMED_PARAMETER = re.compile(
    r"\s*<parameter name=\"([^\"\n]+)\"([^>\n]*)>(.*?)</parameter>"
    r"(?=\s*(?:<parameter name=|</invoke>))",
    re.DOTALL,
)
_INVOKE_END = re.compile(r"\s*</invoke>\s*")
_GLM_NAME = re.compile(r"\s*([^\W\d][\w.\-]*)\s*")
_GLM_PAIR = re.compile(
    r"<arg_key>([^<]+)</arg_key>\s*<arg_value>(.*?)</arg_value>(?=\s*(?:<arg_key>|\Z))\s*",
    re.DOTALL,
)


def function_calls(body: str, offered: Offered) -> Calls | None:
    """Read `<function=name>` with JSON in it, or with `<parameter=key>` elements."""
    calls, at = [], 0
    while at < len(body.rstrip()):
        head = _FUNCTION.match(body, at)
        name = head and offered.known(head[1])
        if head is None or name is None:
            return None
        at = head.end()
        pairs = {}
        while (pair := _PARAMETER.match(body, at)) is not None:
            key = pair[1].strip()
            pairs[key] = _typed(_unwrapped(pair[2]), offered.declared(name, key))
            at = pair.end()
        end = _FUNCTION_END.match(body, at)
        if end is None and not pairs:
            closing = body.find("</function>", at)
            closing = len(body) if closing < 0 else closing
            call = named(name, body[at:closing], offered)
            end, at = _FUNCTION_END.match(body, closing), closing
        else:
            call = named(name, pairs, offered)
        if call is None or (end is None and body[at:].strip()):
            return None
        calls.append(call)
        at = end.end() if end is not None else len(body)
    return tuple(calls) or None


def invoke_calls(body: str, offered: Offered) -> Calls | None:
    """Read `<invoke name=…>` with `<parameter name=…>` elements, also DeepSeek's DSML."""
    body = body.replace(f"{BAR}DSML{BAR}", "")
    calls, at = [], 0
    while at < len(body.rstrip()):
        head = _INVOKE.match(body, at)
        name = head and offered.known(head[1])
        if head is None or name is None:
            return None
        at = head.end()
        pairs = {}
        while (pair := _NAMED_PARAMETER.match(body, at)) is not None:
            types = {"string"} if 'string="true"' in pair[2] else offered.declared(name, pair[1])
            pairs[pair[1]] = _typed(_unwrapped(pair[3]), types)
            at = pair.end()
        end = _INVOKE_END.match(body, at)
        call = named(name, pairs, offered)
        if end is None or call is None:
            return None
        calls.append(call)
        at = end.end()
    return tuple(calls) or None


def glm_calls(body: str, offered: Offered) -> Calls | None:
    """Read a name, then `<arg_key>` and `<arg_value>` in turn."""
    head = _GLM_NAME.match(body)
    name = head and offered.known(head[1])
    if head is None or name is None:
        return None
    at, pairs = head.end(), {}
    while (pair := _GLM_PAIR.match(body, at)) is not None:
        key = pair[1].strip()
        pairs[key] = _typed(pair[2], offered.declared(name, key))
        at = pair.end()
    call = named(name, pairs, offered)
    return None if at < len(body) or call is None else (call,)


def tool_call_calls(body: str, offered: Offered) -> Calls | None:
    """Read what stands in `<tool_call>`, which three notations share."""
    start = body.lstrip()
    if start.startswith(("{", "[")):
        return json_calls(body, offered)
    if start.startswith("<function="):
        return function_calls(body, offered)
    return glm_calls(body, offered)


def _unwrapped(value: str) -> str:
    """Drop the line breaks that set a value apart from its tags."""
    return value.removeprefix("\n").removesuffix("\n")


def _typed(value: str, types: set[str]) -> Any:
    """Read a parameter as its schema declares it; where that is silent, as JSON if it is some."""
    if "string" in types:
        return None if "null" in types and value.strip() == "null" else value
    try:
        read = read_literal(value) if types else json.loads(value, parse_constant=refuse)
    except (ValueError, RecursionError):
        return value
    return value if isinstance(read, str) else read
