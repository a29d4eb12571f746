"""What the answers' own counts teach about the estimates, per model. In memory."""

import math
from collections import OrderedDict, deque

Key = tuple[str, str]
"""Backend and model."""

LEAST, MOST = 0.75, 4.0
"""Bounds of the factor; the lower keeps a model that was misjudged within the band in which its
tokenizer is asked."""
BELIEVED = 0.5
"""Share of the estimate below which a count is of a part of the prompt."""
WORTH = 256
"""Estimated tokens from which an answer teaches: of a shorter prompt, most is the template."""
_KEPT = 16
_FIRST = 4


class Calibration:
    """Remembers per model how many tokens its backend counted for one that was estimated.

    Careful throughout. A count below half the estimate is not learnt from: where the prompt's
    beginning was cached, older Ollamas count the rest alone. Nor is one above four times of it:
    what it counts was not all in the messages. Of what remains, the last 16 ratios are kept, and
    the factor is their third quartile, so that lone outliers and prompts cached by half do not
    move it; until there are four, it is the largest of them, and at least 1.

    Bounded: of more than `kept` models, the one that learnt longest ago is forgotten.
    """

    def __init__(self, kept: int = 512) -> None:
        self._kept = kept
        self._ratios: OrderedDict[Key, deque[float]] = OrderedDict()
        self._factors: dict[Key, float] = {}

    def factor(self, key: Key) -> float:
        """Return what to multiply an estimate for this model with; 1 while nothing is known."""
        return self._factors.get(key, 1.0)

    def learn(self, key: Key, estimated: int, counted: int) -> None:
        """Take in what a backend counted for a prompt that was estimated with factor 1.

        Not to be called for a prompt with images, nor for one that the backend cut.
        """
        if estimated < WORTH or not BELIEVED * estimated <= counted <= MOST * estimated:
            return
        ratios = self._ratios.setdefault(key, deque(maxlen=_KEPT))
        self._ratios.move_to_end(key)
        ratios.append(counted / estimated)
        self._factors[key] = _factor(ratios)
        if len(self._ratios) > self._kept:
            forgotten, _ = self._ratios.popitem(last=False)
            del self._factors[forgotten]


def _factor(ratios: deque[float]) -> float:
    if len(ratios) < _FIRST:
        return max(1.0, *ratios)
    ordered = sorted(ratios)
    return max(LEAST, ordered[math.ceil(len(ordered) * 0.75) - 1])
