"""Which models of one backend do not fit its memory together, learnt from watching it.

Pure: no I/O, and no clock but the times passed in. A backend such as Ollama tells which models
are loaded now, not which one made room for which. Two displace each other when one that we used
a moment ago is gone while another that we used since has appeared. Wrong guesses (somebody
unloaded a model by hand) mend themselves: seen loaded together, two are a pair no longer.
"""

from collections.abc import Iterable, Sequence

import msgspec

IDLE_SECONDS = 240.0
"""A model unused for longer may have left by itself: Ollama unloads after 5 minutes by default."""
FORGET_SECONDS = 1800.0
"""A pair not seen to displace each other for this long may both load again."""
MODELS_KEPT = 256
"""Most models whose loading is remembered, whatever a server claims to have loaded."""


class Use(msgspec.Struct, frozen=True):
    """How Portal uses a model: when its last answer ended, and whether one is under way."""

    model: str
    ended: float
    running: bool = False


class Displacement:
    """The pairs of one backend."""

    def __init__(self) -> None:
        self._pairs: dict[str, dict[str, float]] = {}
        self._seen: dict[str, float] = {}
        self._appeared: dict[str, float] = {}
        self._explained: set[str] = set()
        """Models not loaded, of which it is known by now what took their room."""
        self._last: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self._pairs)

    def between(self, one: str, other: str) -> bool:
        """Tell whether the two were seen to displace each other."""
        others = self._pairs.get(one)
        return others is not None and other in others

    def observe(self, loaded: frozenset[str], uses: Sequence[Use], now: float) -> bool:
        """Take in what is loaded at `now`, and what was used; True when the pairs changed."""
        before = {one: frozenset(others) for one, others in self._pairs.items()}
        for model in loaded - self._last:
            self._appeared[model] = now
        self._learn(loaded, uses, now)
        self._forget(loaded, now)
        self._remember(loaded, now)
        return before != {one: frozenset(others) for one, others in self._pairs.items()}

    def _learn(self, loaded: frozenset[str], uses: Sequence[Use], now: float) -> None:
        there = [use for use in uses if use.model in loaded]
        for gone in uses:
            seen = self._seen.get(gone.model)
            # Never seen: it may not exist. An answer under way says nothing: the server may keep
            # it waiting until the model is loaded once more.
            if seen is None or gone.model in loaded or gone.ended < now - IDLE_SECONDS:
                continue
            for use in there:
                later = use.running or use.ended >= gone.ended
                if later and self._appeared[use.model] > seen:
                    self._pair(gone.model, use.model, now)
            if self._pairs.get(gone.model):
                self._explained.add(gone.model)

    def _pair(self, gone: str, newcomer: str, now: float) -> None:
        # What took the room of a model is what came first after it. What comes later displaces
        # that one perhaps, and only confirms what is known.
        if gone not in self._explained or self.between(gone, newcomer):
            self._pairs.setdefault(gone, {})[newcomer] = now
            self._pairs.setdefault(newcomer, {})[gone] = now

    def _forget(self, loaded: frozenset[str], now: float) -> None:
        for one, others in list(self._pairs.items()):
            for other, since in list(others.items()):
                if (one in loaded and other in loaded) or now - since > FORGET_SECONDS:
                    del others[other]
            if not others:
                del self._pairs[one]

    def _remember(self, loaded: frozenset[str], now: float) -> None:
        for model in loaded:
            self._seen[model] = now
        self._explained -= loaded
        self._last = loaded
        if len(self._seen) > MODELS_KEPT:
            recent = sorted(self._seen, key=self._seen.__getitem__)[-MODELS_KEPT // 2 :]
            self._seen = {model: self._seen[model] for model in recent}
            self._explained &= self._seen.keys()
            self._appeared = {model: self._appeared[model] for model in recent}
            self._last = loaded & self._seen.keys()


class Residents:
    """The models that a backend would have loaded after a sequence of requests, to count swaps."""

    def __init__(self, displacement: Displacement, room: int) -> None:
        self._displacement = displacement
        self._room = room or MODELS_KEPT
        self._models: dict[str, None] = {}

    def reset(self, loaded: Iterable[str]) -> None:
        """Begin anew with these."""
        self._models = dict.fromkeys(loaded)

    def take(self, model: str) -> bool:
        """Load a model if it is not there; True when another had to make room for it."""
        if model in self._models:
            del self._models[model]
            self._models[model] = None
            return False
        out = [other for other in self._models if self._displacement.between(model, other)]
        for other in out:
            del self._models[other]
        while len(self._models) >= self._room:
            oldest = next(iter(self._models))
            del self._models[oldest]
            out.append(oldest)
        self._models[model] = None
        return bool(out)
