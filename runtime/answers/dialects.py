"""How models mark tool calls in their text, and where such a call ends; pure.

A dialect is entered by its opening mark. Its reading is then asked again and again, with the
source from that mark on as far as it is known, and says what becomes of it. The more it has seen
the less it may change its mind: what it finds never depends on how the text was cut.
"""

import re
from typing import NamedTuple

from portal.runtime.answers import element_calls as elements
from portal.runtime.answers import written_calls as written
from portal.runtime.answers.pieces import BAR, Found, Offered, Unclear, Verdict
from portal.runtime.answers.whole_answers import JsonEnd, PythonTag, Reading, judge_start


class _Marks(NamedTuple):
    closer: str
    read: written.Reader
    begins: tuple[str, ...] = ()
    """How its content may begin, beside the names of tools; nothing said: in any way."""


TAGGED = {
    "<tool_call>": _Marks("</tool_call>", elements.tool_call_calls, ("{", "[", "<function=")),
    "<function=": _Marks("</function>", elements.function_calls),
    "<tool_calls>": _Marks("</tool_calls>", written.json_calls, ("{", "[")),
    "<function_calls>": _Marks(
        "</function_calls>",
        lambda body, offered: (
            elements.invoke_calls(body, offered) or written.python_calls(body, offered)
        ),
        ("<invoke name=", "["),
    ),
    "<seed:tool_call>": _Marks("</seed:tool_call>", elements.function_calls, ("<function=",)),
    "<minimax:tool_call>": _Marks(
        "</minimax:tool_call>", elements.invoke_calls, ("<invoke name=",)
    ),
    f"<{BAR}DSML{BAR}function_calls>": _Marks(
        f"</{BAR}DSML{BAR}function_calls>", elements.invoke_calls, (f"<{BAR}DSML{BAR}invoke name=",)
    ),
    f"<{BAR}DSML{BAR}tool_calls>": _Marks(
        f"</{BAR}DSML{BAR}tool_calls>", elements.invoke_calls, (f"<{BAR}DSML{BAR}invoke name=",)
    ),
    f"<{BAR}tool▁calls▁begin{BAR}>": _Marks(
        f"<{BAR}tool▁calls▁end{BAR}>", written.deepseek_calls, (f"<{BAR}tool▁call▁begin{BAR}>",)
    ),
    "<|tool_calls_section_begin|>": _Marks(
        "<|tool_calls_section_end|>", written.kimi_calls, ("<|tool_call_begin|>",)
    ),
    "<|tool_call>": _Marks("<tool_call|>", written.gemma_calls, ("call:",)),
    "<start_function_call>": _Marks("<end_function_call>", written.gemma_calls, ("call:",)),
    "<|START_ACTION|>": _Marks("<|END_ACTION|>", written.json_calls, ("[", "{")),
    "<|action_start|><|plugin|>": _Marks("<|action_end|>", written.json_calls, ("{", "[")),
}
"""Hermes, Qwen and GLM; Llama and Qwen3-Coder; Hunyuan and Jamba; OLMo and what follows
Anthropic; Seed; MiniMax; DeepSeek from V3.2 and before; Kimi; Gemma 4; FunctionGemma; Cohere;
InternLM."""

LISTED = ("[TOOL_CALLS]", "<|tool_call|>")
"""Mistral; Granite and Phi: JSON right behind the mark, which ends with its last bracket."""

ENDINGS = ("</tool_call>", "<|/tool_call|>", "<|eom_id|>", "<|eot_id|>", "<|im_end|>", "</s>")
"""Marks that may remain behind a call: a closer whose opener was left out, an end of message."""

_MOST_CLOSERS = 16
"""Closing marks that may turn out to stand within a value of one call."""

TO_THE_END = ("<|python_tag|>",)
"""Llama: all that follows is calls."""

MARKS = (*TAGGED, *LISTED, *TO_THE_END)

WORD = "functools"
"""Phi: a word that is a mark only where an answer begins, and JSON follows it."""


def begin(mark: str, offered: Offered) -> Reading:
    """Start reading a source that begins with one of MARKS, or with WORD."""
    if mark in TAGGED:
        return Tagged(mark, offered)
    if mark in TO_THE_END:
        return PythonTag(mark, offered)
    return Listed(mark, offered)


class Tagged:
    """Calls between two tags; the closing one may be missing where the text ends."""

    def __init__(self, mark: str, offered: Offered) -> None:
        self._marks = TAGGED[mark]
        self._offered = offered
        # `<function=` is a part of the notation, and no more than that.
        self._body = 0 if mark == "<function=" else len(mark)
        self._begun = False
        self._opening = len(mark)
        self._searched = len(mark)
        self._closers = 0

    def read(self, source: str, *, final: bool) -> Verdict:
        if not self._begun:
            verdict = judge_start(source, self._opening, self._begins, self._offered)
            if verdict is not None:
                return Unclear.NOT if final else verdict
            self._begun = True
        closer = self._marks.closer
        while (end := source.find(closer, self._searched)) >= 0:
            after = end + len(closer)
            body = source[self._body : end if self._body else after]
            calls = self._marks.read(body, self._offered)
            if calls is not None:
                return Found(after, calls)
            self._closers += 1
            if self._closers >= _MOST_CLOSERS or not _within_a_value(body):
                return Unclear.NOT
            self._searched = after
        self._searched = max(self._searched, len(source) - len(closer) + 1)
        if not final:
            return Unclear.MORE
        calls = self._marks.read(source[self._body :], self._offered)
        return Unclear.NOT if calls is None else Found(len(source), calls)

    def _begins(self, body: str, offered: Offered) -> bool | None:
        """Tell whether a body begins as calls do; None while that is open."""
        start = body.lstrip()
        if start.startswith(self._marks.begins):
            return True
        if any(way.startswith(start) for way in self._marks.begins):
            return None
        name = _WORD.match(start)
        word = name[0] if name is not None else ""
        if len(word) == len(start):
            return None if offered.may_become(word) else False
        return offered.known(word) is not None


def _within_a_value(body: str) -> bool:
    """Tell whether a body breaks off inside a value, so that its closer was part of that."""
    for opener, closer in (("<parameter", "</parameter>"), ("<arg_value>", "</arg_value>")):
        if opener in body:
            return body.count(opener) > body.count(closer)
    return len(re.findall(r'(?<!\\)(?:\\\\)*"', body)) % 2 == 1


_WORD = re.compile(r"[\w.\-]*")
_NAMED = re.compile(r"\s*([^\W\d][\w.\-]*)\s*(?:\[CALL_ID\]\s*\w+\s*)?(?:\[ARGS\]\s*)?(?=\{)")
_PLAIN = re.compile(r"\s*(?=\[\s*\{|\{)")
_HEAD = re.compile(r"\s*(?:\[\s*|([\w.\-]*)\s*(?:\[[A-Z_]*(?:\]\s*\w*\s*(?:\[[A-Z]*\]?\s*)?)?)?)?")
_LONGEST_HEAD = 200


class Listed:
    """JSON behind a mark: calls, or a name and then its arguments."""

    def __init__(self, mark: str, offered: Offered) -> None:
        self._mark = mark
        self._offered = offered
        self._name = ""
        self._value = 0
        self._end: JsonEnd | None = None

    def read(self, source: str, *, final: bool) -> Verdict:
        if self._end is None:
            opening = source[: len(self._mark) + _LONGEST_HEAD]
            found = self._head(opening)
            if found is not None:
                return found if found is Unclear.NOT or not final else Unclear.NOT
            self._end = JsonEnd(self._value)
        end = self._end.seek(source)
        if end is None:
            return Unclear.NOT if final else Unclear.MORE
        value = source[self._value : end]
        if self._name:
            call = written.named(self._name, value, self._offered)
            return Unclear.NOT if call is None else Found(end, (call,))
        calls = written.json_calls(value, self._offered)
        return Unclear.NOT if calls is None else Found(end, calls)

    def _head(self, opening: str) -> Unclear | None:
        """Find where the value begins; None when that is known."""
        start = len(self._mark)
        named = _NAMED.match(opening, start)
        if named is not None:
            if self._offered.known(named[1]) is None:
                return Unclear.NOT
            self._name, self._value = named[1], named.end()
            return None
        plain = _PLAIN.match(opening, start)
        if plain is not None:
            self._value = plain.end()
            return None
        may = _HEAD.fullmatch(opening, start)
        if may is None or len(opening) >= start + _LONGEST_HEAD:
            return Unclear.NOT
        if not self._offered.may_become(may[1] or ""):
            return Unclear.NOT
        return Unclear.MORE


class Addressed:
    """A message of Harmony to a tool: a head that names it, then its arguments."""

    def __init__(self, name: str, head: int, closer: re.Pattern[str], offered: Offered) -> None:
        self._name = name
        self._head = head
        self._closer = closer
        self._offered = offered
        self._searched = head
        self._closers = 0

    def read(self, source: str, *, final: bool) -> Verdict:
        while (found := self._closer.search(source, self._searched)) is not None:
            verdict = self._call(source[self._head : found.start()], found.end())
            if verdict is not Unclear.NOT:
                return verdict
            self._closers += 1
            inside = _within_a_value(source[self._head : found.start()])
            if self._closers >= _MOST_CLOSERS or not inside:
                return Unclear.NOT
            self._searched = found.start() + 1
        self._searched = max(self._searched, len(source) - 12)
        if not final:
            return Unclear.MORE
        return self._call(source[self._head :], len(source))

    def _call(self, arguments: str, end: int) -> Verdict:
        call = written.named(self._name, arguments, self._offered)
        return Unclear.NOT if call is None else Found(end, (call,))
