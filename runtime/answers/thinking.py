"""How models mark their thoughts in their text; pure data, and the patterns made of it."""

import re
from enum import Enum, auto
from functools import cache
from typing import NamedTuple

from portal.runtime.answers import dialects

THOUGHTS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<reason>": "</reason>",
    "<seed:think>": "</seed:think>",
    "<mm:think>": "</mm:think>",
    "[THINK]": "[/THINK]",
    "◁think▷": "◁/think▷",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "<|inner_prefix|>": "<|inner_suffix|>",
    "<|channel>thought": "<channel|>",
}
"""DeepSeek, Qwen and most others; what prompts ask for by hand; Seed; MiniMax; Mistral; Kimi;
OpenThinker; Cohere; Apertus; Gemma 4."""

WRAPPERS = {
    "<|begin_of_solution|>": "<|end_of_solution|>",
    "<|START_RESPONSE|>": "<|END_RESPONSE|>",
}
"""Tokens around an answer that follows a thought. `<answer>` is none: people ask for it."""

HARMONY_HEADS = ("<|start|>", "<|channel|>")
HARMONY_ENDS = ("<|end|>", "<|return|>", "<|call|>")

LONGEST_HEAD = 256
LONGEST_BLANK = 256
"""Blank space to hold where what follows it decides."""
LONGEST_RUN = 64
"""Backticks or tildes that may be one mark of code."""
_HARMONY_HEAD = re.compile(
    r"(?:<\|start\|>([^<]*)|(to=[^<]*))?"
    r"<\|channel\|>\s*(analysis|commentary|final)\b([^<]*)(?:<\|constrain\|>[^<]*)?<\|message\|>"
)
_line_blank = re.compile(r"[ \t]*").match
_RECIPIENT = re.compile(r"\bto=([\w.\-]+)")
HARMONY_CLOSER = re.compile(r"<\|(?:end|return|call)\|>|(?=<\|(?:start|channel)\|>)")


class Role(Enum):
    """What a mark does."""

    OPENS_THOUGHT = auto()
    CLOSES_THOUGHT = auto()
    OPENS_WRAPPER = auto()
    CLOSES_WRAPPER = auto()
    HARMONY_HEAD = auto()
    HARMONY_END = auto()
    CALL = auto()
    CALL_ENDING = auto()


class HarmonyHead(NamedTuple):
    """The head of a message of gpt-oss."""

    length: int
    channel: str
    recipient: str
    """Whom a call is for, such as `functions.get_weather`; empty for people."""


class Marks:
    """The literals that matter in a text; none of them is the beginning of another."""

    def __init__(self, roles: dict[str, Role]) -> None:
        self.roles = roles
        self._match = re.compile("|".join(map(re.escape, roles))).match
        self._beginnings = {mark[:size] for mark in roles for size in range(1, len(mark))}
        self._longest = max(map(len, roles))
        seconds: dict[str, set[str]] = {}
        for mark in roles:
            seconds.setdefault(mark[0], set()).add(mark[1])
        signs = [
            f"{re.escape(first)}(?=[{re.escape(''.join(sorted(after)))}]|\\Z)"
            for first, after in seconds.items()
        ]
        run = f"{{1,{LONGEST_RUN}}}"
        self.find = re.compile("|".join(["\n", f"`{run}", f"~{run}", *signs])).search
        """Find the end of a line, a run of marks of code, or what may be the first of a mark."""

    def at(self, text: str, start: int) -> str:
        """Give the mark that stands at `start`, or nothing."""
        found = self._match(text, start)
        return found[0] if found is not None else ""

    def may_begin(self, text: str, start: int) -> bool:
        """Tell whether the text ends in the beginning of a mark that stands at `start`."""
        return len(text) - start < self._longest and text[start:] in self._beginnings


@cache
def marks(*, calls: bool) -> Marks:
    """Give the marks to look for, those of calls only if tools were offered."""
    roles = dict.fromkeys(THOUGHTS, Role.OPENS_THOUGHT)
    roles |= dict.fromkeys(THOUGHTS.values(), Role.CLOSES_THOUGHT)
    roles |= dict.fromkeys(WRAPPERS, Role.OPENS_WRAPPER)
    roles |= dict.fromkeys(WRAPPERS.values(), Role.CLOSES_WRAPPER)
    roles |= dict.fromkeys(HARMONY_HEADS, Role.HARMONY_HEAD)
    roles |= dict.fromkeys(HARMONY_ENDS, Role.HARMONY_END)
    if calls:
        roles |= dict.fromkeys(dialects.MARKS, Role.CALL)
        roles |= dict.fromkeys(dialects.ENDINGS, Role.CALL_ENDING)
    return Marks(roles)


@cache
def closers(opener: str) -> re.Pattern[str]:
    """Give the pattern that ends a thought; of one whose opener was not seen, any closer does."""
    if opener in THOUGHTS:
        return re.compile(re.escape(THOUGHTS[opener]))
    return re.compile("|".join(map(re.escape, THOUGHTS.values())))


_THOUGHT_ENDS = (*THOUGHTS.values(), *HARMONY_ENDS, *HARMONY_HEADS)
_THOUGHT_END_BEGINNINGS = {end[:size] for end in _THOUGHT_ENDS for size in range(1, len(end))}
_LONGEST_THOUGHT_END = max(map(len, _THOUGHT_ENDS))


def thought_end(
    text: str, closer: re.Pattern[str], previous: str, *, final: bool
) -> tuple[int, int | None]:
    """Find where a thought ends: how much of the text it certainly is, and its closer's length.

    The length is None while the end was not met. A closer in backticks is a part of the thought:
    models think about their own tags, too. `previous` is what came before the text.
    """
    at = 0
    while (found := closer.search(text, at)) is not None:
        start, at = found.span()
        before = text[start - 1] if start else previous[-1:]
        if before == "`" and at > start:
            if at == len(text) and not final:
                return start, None
            if text.startswith("`", at):
                continue
        return start, at - start
    return len(text) - (0 if final else _beginning_of_end(text)), None


def _beginning_of_end(text: str) -> int:
    """Count the last characters that could be the beginning of what ends a thought."""
    start = max(0, len(text) - _LONGEST_THOUGHT_END)
    sign = max(text.rfind(first, start) for first in "<[◁")
    return len(text) - sign if sign >= 0 and text[sign:] in _THOUGHT_END_BEGINNINGS else 0


def ends_line(text: str, at: int, *, final: bool) -> bool | None:
    """Tell whether a line ends at `at`, but for blank space; None while that is open."""
    blank = _line_blank(text, at)
    stop = blank.end() if blank is not None else at
    if stop - at >= LONGEST_BLANK:
        return False
    if stop == len(text):
        return False if final else None
    return text[stop] in "\r\n"


def harmony_head(text: str, start: int, *, final: bool) -> HarmonyHead | bool:
    """Read the head of a message at `start`; False: there is none, True: not to be told yet."""
    window = text[start : start + LONGEST_HEAD]
    found = _HARMONY_HEAD.match(window)
    if found is not None:
        recipient = _RECIPIENT.search(f"{found[1] or ''} {found[2] or ''} {found[4]}")
        return HarmonyHead(found.end(), found[3], recipient[1] if recipient else "")
    return not final and len(window) < LONGEST_HEAD and "<|message|>" not in window
