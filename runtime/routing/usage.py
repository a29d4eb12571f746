"""Count answers in memory: the last ones as they came, in a ring. Disk is the state's business."""

import itertools
from collections import deque
from collections.abc import Sequence

import msgspec

from portal.shared.models import UsageRecord

KEPT = 10_000


MODELS = 500
"""Most models counted apart; names come from callers, so their number is bounded."""
OTHERS = ("other", "other")


class Totals(msgspec.Struct):
    """What one model has written since the start."""

    answers: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class UsageRing:
    """The last answers; the oldest make room. And sums of all, by (backend, model)."""

    def __init__(self, kept: int = KEPT) -> None:
        self._records: deque[UsageRecord] = deque(maxlen=kept)
        self.totals: dict[tuple[str, str], Totals] = {}

    def record(self, record: UsageRecord) -> None:
        """Remember one answer."""
        self._records.append(record)
        key = (record.backend, record.model)
        sums = self.totals.get(key)
        if sums is None:
            key = key if len(self.totals) < MODELS else OTHERS
            sums = self.totals.setdefault(key, Totals())
        sums.answers += 1
        sums.input_tokens += record.input_tokens
        sums.output_tokens += record.output_tokens

    def last(self, count: int) -> Sequence[UsageRecord]:
        """Return the newest answers, newest first."""
        return tuple(itertools.islice(reversed(self._records), count))
