"""Would-be calls: one at a time is held back, no longer than allowed, and not too often; pure."""

from portal.runtime.answers.pieces import LONGEST_CALL, Unclear, Verdict
from portal.runtime.answers.whole_answers import Reading

_MOST_FAILURES = 64
"""Would-be calls that may fail in an answer before calls are no longer looked for."""


class Attempts:
    """Holds the reading of the call that may be under way."""

    def __init__(self) -> None:
        self.start = 0
        """Where the would-be call begins in what is held back."""
        self._reading: Reading | None = None
        self._failures = 0

    @property
    def exhausted(self) -> bool:
        """Whether it was tried in vain too often."""
        return self._failures >= _MOST_FAILURES

    def begin(self, reading: Reading, start: int) -> None:
        """Read on from `start`."""
        self._reading, self.start = reading, start

    def judge(self, held: str, *, final: bool) -> Verdict | None:
        """Say what becomes of it; None when it has grown too long to be waited for."""
        full = len(held) - self.start >= LONGEST_CALL
        source = held[self.start : self.start + LONGEST_CALL] if self.start or full else held
        verdict: Verdict | None = Unclear.NOT
        if self._reading is not None:
            verdict = self._reading.read(source, final=final)
        if verdict is Unclear.MORE and full:
            verdict = None
        if verdict is None or verdict is Unclear.NOT:
            self._failures += 1
        return verdict
