"""The figures of this process, gathered when somebody asks for them: requests pay nothing for it.

Labels are names of backends and models, whose number is bounded where they are counted.
"""

import time
import zlib
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from portal.runtime.admission.breakers import Breakers
from portal.runtime.admission.load import Load
from portal.runtime.backends.backend import Backend
from portal.runtime.ops.version import version
from portal.runtime.routing.pace import Pace
from portal.runtime.routing.usage import UsageRing

STATES = {"closed": 0, "half_open": 1, "open": 2}
MODEL = ("backend", "model")
LONGEST_LABEL = 200


class GatewayMetrics(Collector):
    """Implements the Metrics port."""

    def __init__(
        self,
        backends: Sequence[Backend],
        breakers: Breakers,
        load: Load,
        usage: UsageRing,
        pace: Pace,
    ) -> None:
        self._backends = backends
        self._breakers = breakers
        self._load = load
        self._usage = usage
        self._pace = pace
        self._started = time.monotonic()
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def exposition(self) -> bytes:
        found: bytes = generate_latest(self._registry)
        return found

    def describe(self) -> Iterable[Metric]:
        """Say nothing beforehand; the library would collect once for it."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Gather all figures."""
        yield _gauge("portal_info", "The version that runs.", ("version",), [((version(),), 1)])
        uptime = time.monotonic() - self._started
        yield _gauge("portal_uptime_seconds", "Time since the start.", (), [((), uptime)])
        yield from self._of_backends()
        yield from self._of_load()
        yield from self._of_answers()

    def _of_backends(self) -> Iterable[Metric]:
        statuses = [backend.status() for backend in self._backends]
        yield _gauge(
            "portal_backend_up",
            "1 where a backend answers, or starts on first use.",
            ("backend", "kind"),
            [((s.name, s.kind), s.state in ("live", "standby", "starting")) for s in statuses],
        )
        yield _gauge(
            "portal_backend_models",
            "Models that a backend has.",
            ("backend",),
            [((status.name,), status.models) for status in statuses],
        )
        yield _gauge(
            "portal_breaker_state",
            "Circuit breaker of a model that failed lately: 0 closed, 1 half open, 2 open.",
            MODEL,
            [(key, STATES[state]) for key, state in self._breakers.states().items()],
        )

    def _of_load(self) -> Iterable[Metric]:
        figures = self._load.figures()
        rows = figures.backends.items()
        yield _gauge(
            "portal_answers_running",
            "Answers under way.",
            ("backend",),
            [((name,), each.running) for name, each in rows],
        )
        yield _gauge(
            "portal_requests_waiting",
            "Requests that wait for their turn.",
            ("backend",),
            [((name,), each.waiting) for name, each in rows],
        )
        yield _counter(
            "portal_requests_rejected",
            "Requests told to come back later, by the setting of `load` that refused them.",
            ("limit",),
            [((limit,), count) for limit, count in figures.rejected.items()],
        )
        yield _counter(
            "portal_model_swaps",
            "How often a model had to make room for another.",
            ("backend",),
            [((name,), each.swaps) for name, each in rows],
        )
        yield _counter(
            "portal_model_swaps_avoided",
            "Swaps that the order of arrival would have taken beside those.",
            ("backend",),
            [((name,), each.swaps_avoided) for name, each in rows],
        )

    def _of_answers(self) -> Iterable[Metric]:
        totals = self._usage.totals
        yield _counter(
            "portal_answers",
            "Answers given.",
            MODEL,
            [(key, sums.answers) for key, sums in totals.items()],
        )
        tokens = [((*key, "input"), sums.input_tokens) for key, sums in totals.items()]
        tokens += [((*key, "output"), sums.output_tokens) for key, sums in totals.items()]
        yield _counter("portal_tokens", "Tokens read and written.", (*MODEL, "direction"), tokens)
        yield _gauge(
            "portal_tokens_per_second",
            "How fast a model wrote lately.",
            MODEL,
            [(key, pace) for key in totals if (pace := self._pace.of("/".join(key))) is not None],
        )


Rows = Sequence[tuple[tuple[str, ...], float]]


def _gauge(name: str, about: str, labels: Sequence[str], rows: Rows) -> Metric:
    family = GaugeMetricFamily(name, about, labels=labels)
    for values, figure in rows:
        family.add_metric([_label(value) for value in values], figure)
    return family


def _label(value: str) -> str:
    """Shorten a name; still unlike others, since Prometheus refuses a page with a row twice."""
    if len(value) <= LONGEST_LABEL:
        return value
    mark = zlib.crc32(value.encode("utf-8", "surrogatepass"))
    return f"{value[: LONGEST_LABEL - 9]}~{mark:08x}"


def _counter(name: str, about: str, labels: Sequence[str], rows: Rows) -> Metric:
    family = CounterMetricFamily(name, about, labels=labels)
    for values, figure in rows:
        family.add_metric([_label(value) for value in values], figure)
    return family
