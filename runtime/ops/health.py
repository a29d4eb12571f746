"""The truth about this process, told from memory: nothing here waits for a backend."""

import time
from collections.abc import Callable, Sequence

import msgspec

from portal.runtime.backends.backend import Backend
from portal.runtime.ops.version import version
from portal.shared.models import BackendStatus, BreakerStatus, Health


class HealthMonitor:
    """Implements the HealthReport port. `accepting`: started, and not on the way down."""

    def __init__(
        self,
        backends: Sequence[Backend],
        accepting: Callable[[], bool],
        breakers: Callable[[str], tuple[BreakerStatus, ...]],
        state_problem: Callable[[], str] = str,
    ) -> None:
        self._backends = backends
        self._accepting = accepting
        self._breakers = breakers
        self._state_problem = state_problem
        self._started = time.monotonic()

    def backends(self) -> Sequence[BackendStatus]:
        return [
            msgspec.structs.replace(status, breakers=self._breakers(status.name))
            for status in (backend.status() for backend in self._backends)
        ]

    def health(self) -> Health:
        statuses = self.backends()
        problems = find_problems(statuses)
        state_problem = self._state_problem()
        if state_problem:
            problems.append(f"{state_problem} Answers are given all the same, and not stored.")
        return Health(
            status="degraded" if problems else "ok",
            version=version(),
            uptime_seconds=round(time.monotonic() - self._started, 3),
            ready=self._accepting(),
            # What was merely looked for and is not there concerns nobody.
            backends=tuple(s for s in statuses if s.configured or s.state in ("live", "dead")),
            problems=tuple(problems),
        )


def find_problems(statuses: Sequence[BackendStatus]) -> list[str]:
    """Say what is wrong, a sentence each; pure.

    A configured backend that does not answer is a problem even when others do; a missing embedded
    model only when nothing else can answer.
    """
    problems = [
        f"The backend {status.name} is down. {status.error}"
        for status in statuses
        if status.state == "dead"
    ]
    problems += [
        f"The backend {status.name} has no models."
        for status in statuses
        if status.state == "live" and not status.models
    ]
    problems += [
        f"{status.name}/{breaker.model} is left alone after {breaker.failures} failures: "
        f"{breaker.error}"
        for status in statuses
        for breaker in status.breakers
        if breaker.state == "open" and status.state != "dead"
    ]
    able = [s for s in statuses if s.models and s.state in ("live", "standby", "starting")]
    if not able:
        embedded = next((s for s in statuses if s.kind == "embedded"), None)
        if any(status.state == "unknown" for status in statuses):
            problems.append("No backend has answered yet.")
        elif embedded is not None and embedded.state == "absent":
            problems.append(f"No model can answer. {embedded.error}")
        else:
            problems.append("No model can answer: start Ollama, LM Studio or another backend.")
    return problems
