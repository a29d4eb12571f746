"""How fast each model writes, as its last answers showed."""

from collections import OrderedDict

KEPT = 1000
"""Most models remembered; the one heard of longest ago makes room."""
WEIGHT = 0.3
"""Share of the newest answer in the average."""
FEWEST = 8
"""Tokens below which an answer says nothing about speed."""


class Pace:
    """Tokens a second by model id, averaged exponentially."""

    def __init__(self) -> None:
        self._found: OrderedDict[str, float] = OrderedDict()

    def record(self, model: str, tokens: int, seconds: float) -> None:
        """Take in one answer: its tokens, and the time from the first to the last."""
        if tokens < FEWEST or seconds <= 0:
            return
        now, before = tokens / seconds, self._found.pop(model, None)
        self._found[model] = now if before is None else before + WEIGHT * (now - before)
        if len(self._found) > KEPT:
            self._found.popitem(last=False)

    def of(self, model: str) -> float | None:
        """Give a model's tokens a second; None before its first answer."""
        return self._found.get(model)
