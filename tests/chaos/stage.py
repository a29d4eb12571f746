"""The processes of the suite: Portal as a user starts it, two backends to hurt, two left in peace.

Everything that is hurt lies behind a chaos proxy; Portal's limits are those of `LIMITS`.
"""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import msgspec

from tests.fakes.fake import Fake
from tests.fakes.running import free_port
from tests.harness import PortalProcess

KEY = "chaos-key-chaos-key-chaos-key"
TOKENS = 30
"""Length of every whole answer."""
PACE_MS = 10.0
"""Pause before each token of a backend that is well."""
CONNECTIONS = 64
"""Connections to a backend; with no more clients than these nobody waits for a turn."""
MODELS = 6


class Limits(msgspec.Struct, frozen=True):
    """The settings that bound a request, in seconds."""

    connect: float = 0.5
    first_byte: float = 2.0
    stall: float = 1.5
    total: float = 5.0
    retry: float = 0.1
    recovery: float = 0.5
    max_recovery: float = 1.0
    queue: float = 5.0
    heartbeat: float = 0.3

    def raw(self, clients: int) -> float:
        """Longest time that a request for one model may take."""
        line = self.queue if clients > CONNECTIONS else 0.0
        return line + self.connect + 1.5 * self.retry + self.total

    def workspace(self, clients: int, *, whole: bool) -> float:
        """Longest time of one for a workspace: all models but the last fail at their limit.

        For a stream, which keeps to the model that began, that is the limit of the first token.
        """
        line = self.queue if clients > CONNECTIONS else 0.0
        each = self.connect + self.total if whole else self.first_byte
        return (MODELS - 1) * (line + each) + self.raw(clients)

    @property
    def back(self) -> float:
        """Longest time from a fault's end to the first success.

        A trial that began before the end may have to run into its limit first; then comes the
        longest recovery and, as the proxied server may still be marked dead, one check.
        """
        return self.total + self.max_recovery + min(self.recovery, 10.0)


LIMITS = Limits()


class Victim(msgspec.Struct, frozen=True):
    """A backend to hurt, the proxy before it, and its two models."""

    name: str
    fake: Fake
    proxy: Fake
    model: str
    """The one that faults of a single model hit."""
    neighbour: str
    """The one beside it."""


class Stage:
    """Everything that runs; started by `staged`."""

    def __init__(self, portal: PortalProcess, victims: list[Victim], well: dict[str, Fake]) -> None:
        self.portal = portal
        self.victims = victims
        self.well = well

    @property
    def fakes(self) -> dict[str, Fake]:
        """Every backend by its name."""
        return {victim.name: victim.fake for victim in self.victims} | self.well

    def calm(self) -> None:
        """Let every backend answer at its pace, records forgotten."""
        for fake in self.fakes.values():
            fake.ensure()
            fake.script(interval_ms=PACE_MS)

    def script(self, **fields: Any) -> None:
        """Hurt the one model of each victim."""
        for victim in self.victims:
            victim.fake.script(model=victim.model, **({"interval_ms": PACE_MS} | fields))

    def relent(self) -> None:
        """Take that back."""
        self.script()

    def carry(self, *, sever: bool = True, **chaos: Any) -> None:
        """Hurt every connection to each victim that is made from now on; sever those there are."""
        for victim in self.victims:
            if sever:
                victim.proxy.reset()
            victim.proxy.script(**chaos)

    def clear(self) -> None:
        """Take that back; connections are severed once more."""
        for victim in self.victims:
            victim.proxy.reset()

    def kill(self) -> None:
        """End the victims' processes by SIGKILL."""
        for victim in self.victims:
            victim.proxy.kill()
            victim.fake.kill()

    def restart(self) -> None:
        """Start them anew on their ports."""
        for victim in self.victims:
            victim.fake.restart()
            victim.fake.script(interval_ms=PACE_MS)
            victim.proxy.restart()

    def ask(self, path: str) -> Any:
        """Get JSON of Portal as its owner."""
        answer = self.portal.client.get(path, headers={"Authorization": f"Bearer {KEY}"})
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:300]}"
        return answer.json() if "json" in answer.headers["content-type"] else answer.text


@contextlib.contextmanager
def staged() -> Iterator[Stage]:
    """Start everything, and end it."""
    with contextlib.ExitStack() as stack:

        def start(module: str, *options: str, **more: Any) -> Fake:
            # A port of its own from the start, so that it is the same after a restart.
            return stack.enter_context(Fake(module, *options, **more))

        def backend(module: str, *models: str) -> Fake:
            return start(module, "--models", json.dumps(models), port=free_port())

        def victim(name: str, module: str, model: str, neighbour: str) -> Victim:
            fake = backend(module, model, neighbour)
            upstream = f"127.0.0.1:{fake.port}"
            proxy = start("chaos_proxy", "--upstream", upstream, separate_control=True)
            return Victim(name, fake, proxy, model, neighbour)

        victims = [
            victim("hurt-ollama", "ollama", "hurt:7b", "beside:7b"),
            victim("hurt-openai", "openai_compatible", "hurt-7b", "beside-7b"),
        ]
        well = {
            "well-ollama": backend("ollama", "well:7b"),
            "well-openai": backend("openai_compatible", "well-7b"),
        }
        backends = [
            {**victim.fake.backend(victim.name), "url": victim.proxy.url} for victim in victims
        ]
        backends += [fake.backend(name) for name, fake in well.items()]
        portal = stack.enter_context(PortalProcess(**settings(backends)))
        stage = Stage(portal, victims, well)
        stage.calm()
        yield stage


def settings(backends: list[dict[str, Any]]) -> dict[str, Any]:
    """Write Portal's settings: small limits, and a workspace that begins with each victim."""
    limits = {
        "connect_seconds": LIMITS.connect,
        "first_byte_seconds": LIMITS.first_byte,
        "stall_seconds": LIMITS.stall,
        "total_seconds": LIMITS.total,
        "pool_seconds": LIMITS.first_byte,
        "max_connections": CONNECTIONS,
    }
    return {
        "backends": [each | limits for each in backends],
        "auth": {"api_key": KEY},
        "server": {"heartbeat_seconds": LIMITS.heartbeat, "discover_seconds": 2.0},
        "routing": {
            "first_token_seconds": LIMITS.first_byte,
            "token_seconds": LIMITS.stall,
            "retry_seconds": LIMITS.retry,
        },
        "breaker": {
            "recovery_seconds": LIMITS.recovery,
            "max_recovery_seconds": LIMITS.max_recovery,
        },
        "load": {"key_concurrency": 10_000, "queue_seconds": LIMITS.queue},
        "models": [
            {
                "name": "*",
                "capabilities": ["general", "function_calling"],
                "context_window": 16384,
            }
        ],
        "workspaces": {
            "first-ollama": {"model": "hurt-ollama/hurt:7b"},
            "first-openai": {"model": "hurt-openai/hurt-7b"},
        },
    }
