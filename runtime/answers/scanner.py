"""The one walk over a model's text that tells thoughts, calls and the answer apart; pure.

Every decision rests on characters alone, never on where the text was cut on its way. So little
is held back as the marks allow: the beginning of a mark, a run of backticks, a would-be call.
"""

import re
from collections.abc import Callable, Sequence

from portal.runtime.answers import dialects
from portal.runtime.answers.attempts import Attempts
from portal.runtime.answers.code_spans import CodeSpans
from portal.runtime.answers.pieces import LONGEST_CALL, Call, Found, Kind, Offered, Piece, Unclear
from portal.runtime.answers.thinking import (
    HARMONY_CLOSER,
    LONGEST_BLANK,
    LONGEST_RUN,
    WRAPPERS,
    Role,
    closers,
    ends_line,
    harmony_head,
    marks,
    thought_end,
)
from portal.runtime.answers.whole_answers import Reading, begin_unmarked
from portal.shared.turns import ToolSpec

_STRIDE = 4096
"""Characters to take at once: cutting pieces off a text costs its length each time."""

find_sign = re.compile(r"[<\[`~◁]").search
"""Find a character that a mark may begin with, or that opens and closes code."""


class Scanner:
    """Splits text as it comes; without tools, what looks like a call is text.

    Where there is a `flow`, what comes without a sign is of that kind, but for text with a line
    break: whoever feeds may then leave the feeding out, and say so to `given` and `previous`.

    `misplaced` tells how many characters of the text given so far were a thought after all: a
    closing tag without an opening one told so when they had been given already. It stays 0 where
    `starts_in_thought` is set for a model whose template opens the thought.
    """

    def __init__(self, tools: Sequence[ToolSpec], *, starts_in_thought: bool = False) -> None:
        self.misplaced = 0
        self.flow: Kind | None = None
        self.given = 0
        """Characters of text given so far."""
        self.previous = ""
        """What was given last, or the end of it."""
        self._offered = Offered(tools)
        self._marks = marks(calls=bool(self._offered))
        self._assumes_thought = starts_in_thought
        self._rest = ""
        self._pieces: list[Piece] = []
        self._step: Callable[[bool], bool] = self._opening
        self._code = CodeSpans()
        self._drops_blank = False
        self._may_be_whole = True
        self._thought = False  # whether there was one, or a literal opener in the text
        self._called = False
        self._harmony = False
        self._wrapper = ""
        self._closer = closers("")
        self._leads = False
        self._attempts = Attempts()
        self._barred = -1

    def feed(self, text: str) -> list[Piece]:
        """Take the next stretch of text; give what is certain."""
        for start in range(0, len(text), _STRIDE):
            self._rest += text[start : start + _STRIDE]
            self._run(final=False)
        return self._taken()

    def end(self) -> list[Piece]:
        """Give what was held back: nothing follows it."""
        self._run(final=True)
        return self._taken()

    def passes(self, text: str) -> bool:
        """Tell whether text without a sign is text and nothing else, and take note of it.

        That is so between marks, where its line breaks close no code. False: feed it.
        """
        if self._rest or self._step != self._text or not self._code.passes(text):
            return False
        self.given += len(text)
        self.previous = text or self.previous
        self._settle()
        return True

    def thinks_elsewhere(self) -> None:
        """Note that thoughts come by a way of their own, so that the text begins with none."""
        self._assumes_thought = False
        self._thought = True

    def _run(self, *, final: bool) -> None:
        while self._rest and self._step(final):
            pass

    def _taken(self) -> list[Piece]:
        self._settle()
        pieces, self._pieces = self._pieces, []
        return pieces

    def _settle(self) -> None:
        """Find out what flows."""
        self.flow = None
        if not self._rest:
            if self._step == self._text and not self._code.blank:
                self.flow = Kind.TEXT
            elif self._step == self._thinking and not self._leads:
                self.flow = Kind.THOUGHT

    def _give(self, kind: Kind, length: int, calls: tuple[Call, ...] = ()) -> None:
        """Cut a piece off what is waiting."""
        if not length:
            return
        source, self._rest = self._rest[:length], self._rest[length:]
        self._pieces.append(Piece(kind, source, calls))
        self.previous = source
        if kind is Kind.TEXT:
            self.given += length

    def _open(self) -> bool:
        """Stand where an answer, a thought or a call may begin."""
        self._step = self._opening
        self._drops_blank = True
        self._code.blank = True
        self._may_be_whole = not self.given and not self._called
        return True

    def _opening(self, final: bool) -> bool:
        rest = self._rest
        start = len(rest) - len(rest.lstrip())
        if self._drops_blank and start:
            self._give(Kind.FRAME, start)
            return True
        if start > LONGEST_BLANK or (final and start == len(rest)):
            return self._flow()
        if start == len(rest):
            return False
        mark = self._marks.at(rest, start)
        if mark:
            met = self._meet_at_opening(mark, start, final)
        elif not final and self._marks.may_begin(rest, start):
            return False
        else:
            met = self._meet_unmarked(start, final)
        if met is False and self._assumes_thought:
            return self._think(start, closers(""))
        return self._flow() if met is False else met is True

    def _flow(self) -> bool:
        self._step = self._text
        return True

    def _meet_at_opening(self, mark: str, start: int, final: bool) -> bool | None:
        """Act upon a mark; None: it cannot be told yet, False: it means nothing here."""
        match self._marks.roles[mark]:
            case Role.OPENS_THOUGHT:
                return self._think(start + len(mark), closers(mark))
            case Role.CLOSES_THOUGHT if self._thought or not self.given:
                self._assumes_thought = False
                return self._frame(start + len(mark))
            case Role.OPENS_WRAPPER if self._thought and not self._wrapper:
                self._wrapper = WRAPPERS[mark]
                return self._frame(start + len(mark))
            case Role.CALL_ENDING if self._called:
                return self._frame(start + len(mark))
            case Role.HARMONY_HEAD:
                return self._address(start, final)
            case _:
                return self._meet(mark, start, final)

    def _meet_unmarked(self, start: int, final: bool) -> bool | None:
        """Act upon what needs no mark where an answer begins."""
        rest = self._rest
        if not self._offered or not self._may_be_whole or self._assumes_thought:
            return False
        for word in (dialects.WORD, "to=functions."):
            if rest.startswith(word, start):
                if word != dialects.WORD:
                    return self._address(start, final)
                return self._try(dialects.begin(word, self._offered), start)
            if not final and word.startswith(rest[start:]):
                return None
        reading = begin_unmarked(rest, start, self._offered)
        if isinstance(reading, Unclear):
            return None if reading is Unclear.MORE and not final else False
        return self._try(reading, start)

    def _text(self, final: bool) -> bool:
        rest, at = self._rest, 0
        find = self._marks.find
        barred, self._barred = self._barred, -1
        while (token := find(rest, at)) is not None:
            start, end = token.span()
            self._code.words(rest[at:start])
            sign = rest[start]
            if sign == "\n":
                self._code.newline()
            elif sign in "`~":
                if end == len(rest) and not final and end - start < LONGEST_RUN:
                    self._give(Kind.TEXT, start)
                    return False
                self._code.run(token[0], rest[end : end + 1])
            else:
                if start != barred and not self._code.inside:
                    mark = self._marks.at(rest, start)
                    if not mark:
                        met = None if not final and self._marks.may_begin(rest, start) else False
                    else:
                        met = self._meet(mark, start, final)
                    if met is None:
                        self._give(Kind.TEXT, start)
                    if met is not False:
                        return met is True
                self._code.blank = False
            at = end
        self._code.words(rest[at:])
        self._give(Kind.TEXT, len(rest))
        return False

    def _meet(self, mark: str, start: int, final: bool) -> bool | None:
        """Act upon a mark within text; None: it cannot be told yet, False: it means nothing."""
        role = self._marks.roles[mark]
        end = start + len(mark)
        if role is Role.CALL:
            return self._try(dialects.begin(mark, self._offered), start)
        if role is Role.OPENS_THOUGHT:
            alone = ends_line(self._rest, end, final=final) if self._code.blank else False
            if alone:
                self._give(Kind.TEXT, start)
                return self._think(len(mark), closers(mark))
            if alone is False:
                self._thought = True
            return alone
        if role is Role.CLOSES_THOUGHT and not self._thought:
            before = self._rest[start - 1] if start else self.previous[-1:]
            if not self._code.blank and before.isspace():
                return False
            self._give(Kind.TEXT, start)
            self.misplaced, self._thought = self.given, True
            return self._frame(len(mark))
        if role is Role.CLOSES_WRAPPER and mark == self._wrapper:
            self._wrapper = ""
        elif role is Role.HARMONY_HEAD and self._harmony:
            return self._address(start, final)
        elif role is not Role.HARMONY_END or not self._harmony:
            return False
        self._give(Kind.TEXT, start)
        return self._frame(len(mark))

    def _frame(self, length: int) -> bool:
        self._give(Kind.FRAME, length)
        return self._open()

    def _think(self, length: int, closer: re.Pattern[str]) -> bool:
        self._give(Kind.FRAME, length)
        self._assumes_thought = False
        self._thought = self._leads = True
        self._closer = closer
        self._step = self._thinking
        return True

    def _thinking(self, final: bool) -> bool:
        rest = self._rest
        if self._leads:
            start = len(rest) - len(rest.lstrip())
            self._give(Kind.FRAME, start)
            self._leads = start == len(rest)
            return not self._leads
        length, closer = thought_end(rest, self._closer, self.previous, final=final)
        self._give(Kind.THOUGHT, length)
        return False if closer is None else self._frame(closer)

    def _address(self, start: int, final: bool) -> bool | None:
        """Read the head of a message of Harmony and act upon whom it is for."""
        head = harmony_head(self._rest, start, final=final)
        if isinstance(head, bool):
            return None if head else False
        if head.recipient:
            name = self._offered.known(head.recipient)
            if name is None:
                return False
            reading = dialects.Addressed(name, head.length, HARMONY_CLOSER, self._offered)
            self._harmony = True
            return self._try(reading, start)
        self._harmony = True
        if self._step == self._text:
            self._give(Kind.TEXT, start)
            start = 0
        if head.channel == "analysis":
            return self._think(start + head.length, HARMONY_CLOSER)
        return self._frame(start + head.length)

    def _try(self, reading: Reading, start: int) -> bool:
        """Hold back what may be a call; False when too many were none."""
        if self._attempts.exhausted:
            return False
        if self._step == self._text:
            self._give(Kind.TEXT, start)
            start = 0
        self._attempts.begin(reading, start)
        self._step = self._calling
        return True

    def _calling(self, final: bool) -> bool:
        verdict, start = self._attempts.judge(self._rest, final=final), self._attempts.start
        match verdict:
            case Unclear.MORE:
                return False
            case Unclear.NOT:
                self._barred = start
            case Found(length, calls):
                self._called = True
                self._give(Kind.FRAME, start)
                self._give(Kind.CALL, length, calls)
                return self._open()
            case None:
                held = self._rest[: start + LONGEST_CALL]
                self._code.blank = not held[held.rfind("\n") + 1 :].strip()
                self._give(Kind.TEXT, len(held))
        return self._flow()
