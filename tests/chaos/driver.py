"""Drives one scenario: clients that ask, a fault that comes and goes, watchers that see it pass.

The schedule goes by the numbers of the requests: the client that draws the right number brings
the fault on, or takes it away, while the others go on asking.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import httpx
import msgspec

from tests.chaos import mix
from tests.chaos.client import Client
from tests.chaos.faults import Fault
from tests.chaos.ledger import Entry, Phase, enter, error_types
from tests.chaos.mix import Kind, kind_of, write
from tests.chaos.reading import read
from tests.chaos.stage import KEY, LIMITS, Stage
from tests.fakes.running import HOST

WATCH_SECONDS = 0.05
"""Pause between two attempts to find a hurt model well again."""


class Plan(msgspec.Struct, frozen=True):
    """How many requests begin before, during and after a fault; at least, and for so long."""

    clients: int = 50
    before: int = 50
    during: int = 250
    after: int = 100
    seconds: float = 0.0
    """Shortest time that a fault lasts."""


class Return(msgspec.Struct, frozen=True):
    """How a hurt model came back."""

    model: str
    seconds: float
    """From the fault's end to the first success; infinite if there was none."""
    refused: int
    """Attempts that failed until then."""


class Played(msgspec.Struct):
    """What happened in one scenario, as seen from the clients' side."""

    fault: Fault
    entries: list[Entry] = []
    returns: list[Return] = []
    health: list[float] = []
    """Seconds that each look at /health took."""
    health_failures: int = 0


class Scenario:
    """One fault under load; `first` numbers its requests from there."""

    def __init__(self, stage: Stage, fault: Fault, plan: Plan, first: int) -> None:
        self.played = Played(fault)
        self._stage = stage
        self._fault = fault
        self._plan = plan
        self._next = self._first = first
        self._phase: Phase = "before"
        self._late = 0
        """How many requests began before the fault ended."""
        self._since = time.monotonic()
        self._types = error_types()
        self._watchers: list[asyncio.Task[None]] = []
        port = stage.portal.port
        self._clients = [Client(HOST, port) for _ in range(plan.clients)]

    async def play(self) -> Played:
        """Play it to its end."""
        if self._fault.harmless:
            await asyncio.to_thread(self._fault.begin, self._stage)
        async with self._health():
            try:
                await asyncio.gather(*(self._ask(client) for client in self._clients))
                await asyncio.gather(*self._watchers)
            finally:
                for client in self._clients:
                    client.close()
        if self._fault.harmless:
            await asyncio.to_thread(self._fault.end, self._stage)
        return self.played

    @property
    def next_number(self) -> int:
        """The number after the last one used."""
        return self._next

    async def _ask(self, client: Client) -> None:
        while (number := await self._draw()) is not None:
            kind, phase = kind_of(number), self._phase
            bound = self.bound(kind)
            request = write(number, kind, self._stage.portal.port)
            heard = await client.ask(request, 3 * bound, kind.leaving)
            self.played.entries.append(enter(number, kind, phase, heard, self._types))

    def bound(self, kind: Kind) -> float:
        """Longest time that a request of this kind may take by the settings, in seconds."""
        if kind.role == "workspace":
            return LIMITS.workspace(self._plan.clients, whole=not kind.stream)
        return LIMITS.raw(self._plan.clients)

    async def _draw(self) -> int | None:
        """Take the next number, and turn the phase where it is the one to do so."""
        number = self._next
        if self._phase == "after" and number - self._first >= self._upto("after"):
            return None
        self._next += 1
        count = number - self._first
        if self._phase == "before" and count >= self._upto("before"):
            self._turn("during")
            if not self._fault.harmless:
                await asyncio.to_thread(self._fault.begin, self._stage)
                self._since = time.monotonic()
        elif self._phase == "during" and count >= self._upto("during") and self._is_over():
            self._turn("after")
            if not self._fault.harmless:
                await asyncio.to_thread(self._fault.end, self._stage)
                self._watch_returns()
        return number

    def _is_over(self) -> bool:
        return time.monotonic() - self._since >= self._plan.seconds

    def _turn(self, phase: Phase) -> None:
        if phase == "after":
            self._late = self._next - self._first
        self._phase = phase
        self._since = time.monotonic()

    def _upto(self, phase: Phase) -> int:
        plan = self._plan
        match phase:
            case "before":
                return plan.before
            case "during":
                return plan.before + plan.during
            case "after":
                return self._late + plan.after

    def _watch_returns(self) -> None:
        ended = time.monotonic()
        for model in (*mix.HURT, *mix.BESIDE):
            self._watchers.append(asyncio.create_task(self._watch(model, ended)))

    async def _watch(self, model: str, ended: float) -> None:
        """Ask one model until it answers."""
        client = Client(HOST, self._stage.portal.port)
        kind = Kind(f"{model}, watched", "hurt", model)
        request = write(0, kind, self._stage.portal.port)
        refused = 0
        try:
            while (passed := time.monotonic() - ended) < 3 * LIMITS.back:
                heard = await client.ask(request, 3 * self.bound(kind))
                said = read(heard.body, heard.headers.get("content-type", ""))
                if heard.status == 200 and said.finished and said.text and not said.error:
                    passed = time.monotonic() - ended
                    self.played.returns.append(Return(model, passed, refused))
                    return
                refused += 1
                await asyncio.sleep(WATCH_SECONDS)
            self.played.returns.append(Return(model, float("inf"), refused))
        finally:
            client.close()

    @contextlib.asynccontextmanager
    async def _health(self) -> AsyncIterator[None]:
        """Look at /health all the while, as a monitor would."""

        async def look() -> None:
            headers = {"Authorization": f"Bearer {KEY}"}
            url = f"{self._stage.portal.url}/health"
            async with httpx.AsyncClient(trust_env=False, timeout=10, headers=headers) as client:
                while True:
                    began = time.monotonic()
                    try:
                        good = (await client.get(url)).status_code == 200
                    except httpx.TransportError:
                        good = False
                    self.played.health_failures += not good
                    self.played.health.append(time.monotonic() - began)
                    await asyncio.sleep(WATCH_SECONDS)

        looking = asyncio.create_task(look())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
