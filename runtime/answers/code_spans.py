"""Where Markdown code is open, followed as the text comes; pure."""

from enum import Enum, auto


class _State(Enum):
    OUTSIDE = auto()
    INLINE = auto()
    INFO = auto()
    """Behind three marks or more: a fence if the line ends, inline code if they come again."""
    FENCE = auto()


class CodeSpans:
    """Follows lines, inline code and fences; everything else is no concern of it.

    Wrong only in favour of code: a lone backtick opens code until the paragraph ends.
    """

    __slots__ = ("_length", "_mark", "_state", "blank")

    def __init__(self) -> None:
        self.blank = True
        """Whether there is nothing to see in the line so far."""
        self._state = _State.OUTSIDE
        self._mark = ""
        self._length = 0

    @property
    def inside(self) -> bool:
        """Whether what comes now is code."""
        return self._state is not _State.OUTSIDE

    def passes(self, text: str) -> bool:
        """Take text without marks; False, and nothing is taken, where its line breaks matter."""
        if "\n" in text:
            if self._state is _State.INLINE or self._state is _State.INFO:
                return False
            self.blank = not text[text.rindex("\n") :].strip()
        elif self.blank:
            self.blank = not text.strip()
        return True

    def words(self, text: str) -> None:
        """Take text without marks and line breaks."""
        if self.blank and text.strip():
            self.blank = False

    def run(self, marks: str, follower: str) -> None:
        """Take a whole run of backticks or tildes; `follower` is the character behind it."""
        mark, length = marks[0], len(marks)
        match self._state:
            case _State.OUTSIDE:
                if length >= 3 and (mark == "`" or self.blank):
                    self._open(_State.INFO, mark, length)
                elif mark == "`":
                    self._open(_State.INLINE, mark, length)
            case _State.INLINE:
                if mark == "`" and length == self._length:
                    self._state = _State.OUTSIDE
            case _State.INFO:
                if mark == "`" == self._mark:
                    closed = length == self._length
                    self._state = _State.OUTSIDE if closed else _State.INLINE
            case _State.FENCE:
                ends = not follower or follower.isspace()
                if self.blank and ends and mark == self._mark and length >= self._length:
                    self._state = _State.OUTSIDE
        self.blank = False

    def newline(self) -> None:
        """Take the end of a line."""
        if self._state is _State.INFO:
            self._state = _State.FENCE
        elif self._state is _State.INLINE and self.blank:
            self._state = _State.OUTSIDE
        self.blank = True

    def _open(self, state: _State, mark: str, length: int) -> None:
        self._state, self._mark, self._length = state, mark, length
