"""One model of a backend: who waits for it, its turn, how long its answers take. Pure."""

import math
from collections import deque

SMOOTHING = 0.2
"""Weight of the latest answer in the average service time."""


class Waiting:
    """A request in line."""

    __slots__ = ("background", "lane", "number", "queued", "since")

    def __init__(self, lane: "Lane", since: float, *, background: bool) -> None:
        self.lane = lane
        self.since = since
        self.background = background
        self.number = 0
        """Its place in the order of arrival, over all backends."""
        self.queued = False
        """Whether it is in line still."""


class Lane:
    """One model of a backend: who waits for it, and its turn."""

    __slots__ = ("began", "floor", "model", "running", "service", "taken", "used", "waiting")

    def __init__(self, model: str) -> None:
        self.model = model
        self.waiting: deque[Waiting] = deque()
        """People only."""
        self.running = 0
        self.floor = 0
        """Number behind which its requests stand since its last turn was used up."""
        self.began = 0.0
        self.taken = 0
        """Answers begun in this turn since another model's request began to wait for its end."""
        self.service = 0.0
        """Average seconds of an answer, the latest weighing most; 0: none has ended."""
        self.used = -math.inf
        """When the last answer ended."""

    def place(self) -> int:
        """Tell where its head stands among the heads of the other models."""
        return max(self.waiting[0].number, self.floor)

    def measure(self, seconds: float, now: float) -> None:
        """Take in how long an answer that ended `now` took."""
        self.service += (seconds - self.service) * (SMOOTHING if self.service else 1.0)
        self.used = now
