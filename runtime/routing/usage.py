"""Count answers in memory: the last ones as they came, in a ring. Disk is the state's business."""

import itertools
from collections import deque
from collections.abc import Sequence

from portal.shared.models import UsageRecord

KEPT = 10_000


class UsageRing:
    """The last answers; the oldest make room."""

    def __init__(self, kept: int = KEPT) -> None:
        self._records: deque[UsageRecord] = deque(maxlen=kept)

    def record(self, record: UsageRecord) -> None:
        """Remember one answer."""
        self._records.append(record)

    def last(self, count: int) -> Sequence[UsageRecord]:
        """Return the newest answers, newest first."""
        return tuple(itertools.islice(reversed(self._records), count))
