"""Downloads: their progress is told, and one that stands still, breaks or fails says so."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from portal.runtime.backends.http_backend import HTTPBackend
from portal.runtime.backends.ollama_pull import decode_progress
from portal.shared.errors import BackendBroken, BackendRefused, BackendTimeout
from portal.shared.model_operations import PullProgress
from tests.backend_here import backend_for, seen
from tests.harness import Fake

PULLING = '{"status":"pulling ab","digest":"sha256:ab","total":100,"completed":40}'


async def pulled(backend: HTTPBackend, model: str) -> list[PullProgress]:
    """Pull to the end."""
    async with asyncio.timeout(20), contextlib.aclosing(backend.pull(model)) as steps:
        return [step async for step in steps]


async def feed(*pieces: bytes) -> AsyncIterator[bytes]:
    """Be a body in these slices."""
    for piece in pieces:
        yield piece


async def test_a_pulled_model_is_there_and_its_progress_was_told(ollama: Fake) -> None:
    async with backend_for(ollama) as backend:
        steps = await pulled(backend, "phi4")
        await backend.discover()
        assert "phi4:latest" in {model.name for model in backend.models()}
    assert (steps[0].status, steps[-1]) == ("pulling manifest", PullProgress("success"))
    parts = [step for step in steps if step.digest]
    assert parts[0].completed is None
    assert parts[-1].completed == parts[-1].total == 4_683_087_332
    assert ollama.requests("/api/pull")[0].json["model"] == "phi4"


async def test_a_download_that_stands_still_is_given_up(ollama: Fake) -> None:
    ollama.script(path="/api/pull", stall_after=3)
    async with backend_for(ollama, stall_seconds=0.2) as backend:
        with pytest.raises(BackendTimeout, match=r"stands still at 'pulling .*Pull it again"):
            await pulled(backend, "phi4")
    await seen(ollama, "closed", path="/api/pull")


async def test_repeating_the_same_progress_is_no_progress(ollama: Fake) -> None:
    ollama.script(path="/api/pull", tokens=[PULLING] * 1000, interval_ms=10)
    async with backend_for(ollama, stall_seconds=0.2) as backend:
        with pytest.raises(BackendTimeout, match="stands still"):
            await pulled(backend, "phi4")
    await seen(ollama, "closed", path="/api/pull")


async def test_a_slow_download_that_moves_is_not_given_up(ollama: Fake) -> None:
    moving = [PULLING.replace("40", str(n)) for n in range(20)]
    ollama.script(path="/api/pull", tokens=moving, interval_ms=40)
    async with backend_for(ollama, stall_seconds=5.0, total_seconds=0.5) as backend:
        assert len(await pulled(backend, "phi4")) == 21


async def test_checking_what_was_fetched_may_take_longer_than_a_stall() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b'{"status":"verifying sha256 digest"}\n'
        await asyncio.sleep(0.1)
        yield b'{"status":"success"}'

    steps = decode_progress(body(), "m", "b", 0.01, 10.0)
    assert [step.status async for step in steps] == ["verifying sha256 digest", "success"]


async def test_a_reader_that_takes_its_time_is_no_stall() -> None:
    statuses = []
    body = feed(PULLING.encode() + b"\n", b'{"status":"success"}\n')
    async for step in decode_progress(body, "m", "b", 0.01, 0.01):
        statuses.append(step.status)
        await asyncio.sleep(0.05)
    assert statuses == ["pulling ab", "success"]


async def test_a_download_ends_when_nobody_reads_it(ollama: Fake) -> None:
    ollama.script(path="/api/pull", manual=True)
    ollama.step(1)
    async with backend_for(ollama) as backend:
        async with contextlib.aclosing(backend.pull("phi4")) as steps:
            assert (await anext(steps)).status == "pulling manifest"
        await seen(ollama, "closed", path="/api/pull")


async def test_an_error_in_mid_download_is_the_servers_own(ollama: Fake) -> None:
    ollama.script(path="/api/pull", error_after=2, error="no space left on device")
    async with backend_for(ollama) as backend:
        with pytest.raises(BackendRefused, match="could not pull 'phi4': no space left"):
            await pulled(backend, "phi4")


async def test_a_name_that_the_library_does_not_have_is_told_as_such(ollama: Fake) -> None:
    words = "pull model manifest: file does not exist"
    ollama.script(path="/api/pull", error_after=1, error=words)
    async with backend_for(ollama) as backend:
        with pytest.raises(BackendRefused, match="Is 'fi4' the name of a model") as caught:
            await pulled(backend, "fi4")
    assert caught.value.status == 404


async def test_a_cut_download_is_broken_and_may_be_resumed(ollama: Fake) -> None:
    ollama.script(path="/api/pull", cut_after=2)
    async with backend_for(ollama) as backend:
        with pytest.raises(BackendBroken):
            await pulled(backend, "phi4")


@pytest.mark.parametrize("body", [b"", b"{no", b'{"status":7}\n', b"[]\n", b'{"status":"a"}\n\xff'])
async def test_a_body_without_success_is_a_broken_download(body: bytes) -> None:
    with pytest.raises(BackendBroken):
        async for _ in decode_progress(feed(body), "m", "b", 5.0, 5.0):
            pass
