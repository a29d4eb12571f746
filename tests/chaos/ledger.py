"""The book of a run: what became of every request, and what that amounts to.

An entry is judged by itself here; what takes the backends' records to judge is in `judging.py`.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from tests.chaos.client import Heard
from tests.chaos.faults import Fault
from tests.chaos.mix import Kind, mark
from tests.chaos.reading import Read, is_documented, read
from tests.checkout import ROOT

Phase = Literal["before", "during", "after"]
Fate = Literal[
    "answered", "refused", "relayed", "broken", "garbled", "empty", "cut", "left", "hung"
]
"""`answered` to its end; `refused` by an error before a word; `relayed`: the backend's own refusal;
`broken` by an error after the first word; `garbled`: neither an answer nor an error; `empty`: an
answer without a word; `cut` without an error; `left` by the client; `hung`."""
_ROW = re.compile(r"^\| .*?`\w+` \| (\d+) \| `(\w+)` \| `(\w+)` \|", re.MULTILINE)


class Entry(msgspec.Struct):
    """One request."""

    number: int
    kind: Kind
    phase: Phase
    """When it began."""
    fate: Fate
    status: int
    code: str
    seconds: float
    route: str
    text: str
    words: str
    """Of its error."""
    documented: bool
    """Whether its error, if it ended in one, is one of docs/errors.md; True without one."""
    late_words: bool
    """Whether anything followed the error."""

    @property
    def failed(self) -> bool:
        """Whether somebody who waited for it has no answer."""
        return self.fate not in ("answered", "left")


def error_types() -> dict[str, str]:
    """Read the codes of docs/errors.md, each with its type."""
    page = Path(ROOT, "docs/errors.md").read_text(encoding="utf-8")
    found = {code: kind for _, kind, code in _ROW.findall(page)}
    assert "backend_timeout" in found, "docs/errors.md has no table of codes any more"
    return found


def enter(number: int, kind: Kind, phase: Phase, heard: Heard, types: dict[str, str]) -> Entry:
    """Write one request down."""
    said = read(heard.body, heard.headers.get("content-type", ""))
    error = said.error or {}
    fate = _fate(kind, heard, said, types)
    told = fate in ("refused", "broken")
    return Entry(
        number,
        kind,
        phase,
        fate,
        heard.status,
        str(error.get("code") or ""),
        heard.seconds,
        heard.headers.get("x-portal-route", ""),
        said.text,
        str(error.get("message") or ""),
        is_documented(said.error, types) if told else True,
        said.after_error,
    )


def _fate(kind: Kind, heard: Heard, said: Read, types: dict[str, str]) -> Fate:
    if heard.ended != "whole":
        return heard.ended
    if said.error is not None:
        # Held against what the backend recorded, in `judging.py`.
        if kind.role in ("hurt", "neighbour") and said.error.get("code") not in types:
            return "relayed"
        return "broken" if said.text else "refused"
    if heard.status != 200 or not said.finished or said.odd:
        return "garbled"
    return "answered" if said.text else "empty"


def unjust(entry: Entry, fault: Fault, bound: float) -> list[str]:
    """List what is wrong with one entry, whatever the backends recorded."""
    kind, found = entry.kind, []
    if entry.fate == "hung":
        found.append("hung")
    elif entry.seconds > 3 * bound:
        found.append(f"took {entry.seconds:.1f} s, {bound:.1f} s are allowed")
    if entry.fate == "cut":
        found.append("was cut without a word")
    if not entry.documented:
        found.append(f"ended in an error that is not documented: {entry.status} {entry.code!r}")
    if entry.late_words:
        found.append("went on after its error")
    if entry.text.count("Echo:") > 1:
        found.append("has a second answer glued on")
    if entry.fate == "garbled" and not (fault.garbles and kind.role in ("hurt", "neighbour")):
        found.append(f"is neither an answer nor an error ({entry.status})")
    if entry.fate == "empty" and not (fault.empties and kind.role == "hurt"):
        found.append("is empty")
    if kind.role == "nobody":
        if entry.fate != "refused" or not 400 <= entry.status < 500:
            found.append(f"is the client's fault, and was answered {entry.status} {entry.fate}")
    elif entry.failed and _must_succeed(kind, fault):
        found.append(f"had to succeed, and was {entry.fate}: {_told(entry)}")
    if kind.role == "workspace" and entry.failed and entry.fate != "broken":
        found.append(f"found no other model, and was {entry.fate}: {_told(entry)}")
    strange = entry.fate == "answered" and kind.whole and mark(entry.number) not in entry.text
    if strange and not fault.garbles:
        found.append("is the answer to something else")
    return [f"request {entry.number} ({kind.name}, {entry.phase}) {each}" for each in found]


def _told(entry: Entry) -> str:
    return f"{entry.status} {entry.code}, {entry.words[:300]}"


def _must_succeed(kind: Kind, fault: Fault) -> bool:
    if fault.harmless or kind.role == "well":
        return True
    return kind.role == "neighbour" and not fault.wide


def shares(entries: Sequence[Entry]) -> tuple[int, int]:
    """Count the requests for workspaces that were answered, and all of them."""
    asked = [each for each in entries if each.kind.role == "workspace" and each.fate != "left"]
    return sum(each.fate == "answered" for each in asked), len(asked)


def failures(entries: Sequence[Entry]) -> Counter[str]:
    """Count the failures that are the backends', by code; without one by fate."""
    return Counter(
        each.code if each.fate in ("refused", "broken") else each.fate
        for each in entries
        if each.failed and each.kind.role != "nobody"
    )


def summary(counts: Counter[Any]) -> str:
    """Write counts in a line, the most frequent first."""
    return ", ".join(f"{name} {count}" for name, count in counts.most_common()) or "none"
