"""Leave to send one request to a model, given back by what became of it."""

from typing import Protocol, Self


class Settled(Protocol):
    """The breaker behind a permit; each word names the generation that the permit is of."""

    def settle_success(self, generation: int) -> None: ...

    def settle_failure(self, generation: int, reason: str) -> None: ...

    def settle_release(self, generation: int) -> None: ...

    def free_slots(self, generation: int, slots: int) -> None: ...


class Permit:
    """Leave to send one request, given back by its verdict; the first one given counts.

    As a context manager it is released at the end of the block, unless it has a verdict by then.
    """

    __slots__ = ("_breaker", "_generation")

    def __init__(self, breaker: Settled, generation: int) -> None:
        self._breaker: Settled | None = breaker
        self._generation = generation

    def succeeded(self) -> None:
        """Say that the model answered."""
        breaker, self._breaker = self._breaker, None
        if breaker is not None:
            breaker.settle_success(self._generation)

    def failed(self, reason: str) -> None:
        """Say that it did not, and why; the reason goes to the log and to health."""
        breaker, self._breaker = self._breaker, None
        if breaker is not None:
            breaker.settle_failure(self._generation, reason)

    def release(self) -> None:
        """Give it back without blame or praise: cancelled, or refused for the caller's fault."""
        breaker, self._breaker = self._breaker, None
        if breaker is not None:
            breaker.settle_release(self._generation)

    def began(self) -> None:
        """Say that an answer has begun; of note for a trial alone."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Trial(Permit):
    """A permit that holds one of the few slots of a half-open breaker, until it is collected.

    Once its answer has begun the next trial may, or a long answer would keep all others off the
    model; whether this one was a success is told by its end.
    """

    __slots__ = ("_began",)

    def __init__(self, breaker: Settled, generation: int) -> None:
        super().__init__(breaker, generation)
        self._began = False

    def began(self) -> None:
        if self._breaker is not None and not self._began:
            self._began = True
            self._breaker.free_slots(self._generation, 1)

    def _take_back(self) -> None:
        """Hold the slot again, for the verdict to give it back."""
        if self._breaker is not None and self._began:
            self._began = False
            self._breaker.free_slots(self._generation, -1)

    def succeeded(self) -> None:
        self._take_back()
        super().succeeded()

    def failed(self, reason: str) -> None:
        self._take_back()
        super().failed(reason)

    def release(self) -> None:
        self._take_back()
        super().release()

    def __del__(self) -> None:
        # A slot lost by a caller's mistake would keep a healthy model out of service for ever.
        self.release()
