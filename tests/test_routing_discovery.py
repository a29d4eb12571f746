"""Discovery goes on whatever it meets, and a backend busy with answers is not taken for dead."""

import asyncio
from typing import Any

import pytest

from portal.runtime.admission.passage import is_failure
from portal.runtime.routing import discovery as module
from portal.runtime.routing.discovery import Discovery
from portal.shared.errors import BackendBusy, BackendTimeout
from portal.shared.models import BackendStatus
from tests.backend_here import backend_for
from tests.fakes.fake import Fake


class Backend:
    """A backend that counts how often it is asked, and may be silent."""

    def __init__(self, *, silent: bool = False) -> None:
        self.name = "one"
        self.asked = asyncio.Event()
        self.times = 0
        self._silent = silent

    def status(self) -> BackendStatus:
        return BackendStatus(self.name, "openai", "", "live", True)

    async def discover(self) -> None:
        self.times += 1
        if self.times == 3:
            self.asked.set()
        if self._silent:
            await asyncio.Event().wait()

    async def loaded(self) -> frozenset[str]:
        return frozenset()


def failing(_: Any) -> None:
    raise RuntimeError("a fault in what is done with an answer")


async def test_a_fault_after_an_answer_ends_neither_the_asking_nor_the_first_round(
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend = Backend()
    discovery = Discovery([backend], interval=0.001, changed=failing)  # type: ignore[list-item]
    discovery.start()
    async with asyncio.timeout(10):
        await backend.asked.wait()
        await discovery.first_round()
    assert discovery.is_round
    await discovery.stop()
    assert "discovery of one failed" in caplog.text


async def test_a_fault_in_a_look_at_what_is_loaded_is_logged_and_the_next_look_possible(
    caplog: pytest.LogCaptureFixture,
) -> None:
    discovery = Discovery([Backend()], interval=60, changed=failing)  # type: ignore[list-item]
    discovery.start()
    for _ in range(2):
        discovery.peek("one")
        [task] = discovery._peeks.values()
        async with asyncio.timeout(10):
            await task
        await asyncio.sleep(0)
    await discovery.stop()
    assert caplog.text.count("a look at what one has loaded failed") == 2


async def test_the_wait_for_a_silent_backend_is_counted_from_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FIRST_ROUND_SECONDS", 0.02)
    backend = Backend(silent=True)
    discovery = Discovery([backend], interval=60, changed=failing)  # type: ignore[list-item]
    discovery.start()
    async with asyncio.timeout(10):
        await discovery.first_round()
    # From now on nobody waits, however long the first question would have been allowed to.
    monkeypatch.setattr(module, "FIRST_ROUND_SECONDS", 0.0)
    async with asyncio.timeout(10):
        await discovery.first_round()
    assert not discovery.is_round
    await discovery.stop()


async def test_a_backend_whose_connections_are_all_in_use_stays_live(openai_server: Fake) -> None:
    openai_server.script(path="/v1/chat/completions", hang=True)
    async with backend_for(openai_server, max_connections=1, pool_seconds=0.05) as backend:
        asking = asyncio.create_task(backend.send("/v1/chat/completions", b'{"model":"x"}'))
        await asyncio.to_thread(openai_server.wait, "request", path="/v1/chat/completions")
        await backend.discover()
        assert backend.available
        with pytest.raises(BackendBusy, match="max_connections"):
            await backend.send("/v1/chat/completions", b"{}")
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


def test_portals_own_limits_are_not_held_against_a_model() -> None:
    assert not is_failure(BackendBusy("all in use"))
    assert is_failure(BackendTimeout("too slow"))
