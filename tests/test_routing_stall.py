"""An answer that stops coming is ended at its limit, however alive its connection looks."""

import asyncio
import json
from typing import Any

import pytest

from portal.runtime.admission.stall import LOOKS, Stall
from tests.conftest import StartPortal
from tests.harness import Fake

MODEL = "Qwen/Qwen2.5-7B-Instruct"
ASK = [{"role": "user", "content": "What should I see in Lisbon in two days?"}]


async def _wait_for_ever(stall: Stall) -> str:
    stall.waiting = asyncio.current_task()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return "stalled" if stall.was_it() else "cancelled"
    finally:
        stall.stop()
    return "never"


async def test_a_wait_that_is_too_long_is_ended_and_the_task_goes_on() -> None:
    task = asyncio.create_task(_wait_for_ever(Stall(0.02, lambda: 1)))
    async with asyncio.timeout(10):
        assert await task == "stalled"


async def test_a_cancellation_from_outside_is_told_apart() -> None:
    stall = Stall(60, lambda: 1)
    task = asyncio.create_task(_wait_for_ever(stall))
    await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(10):
        assert await task == "cancelled"


async def test_both_at_once_are_the_cancellation_from_outside() -> None:
    stall = Stall(60, lambda: 1)
    task = asyncio.create_task(_wait_for_ever(stall))
    await asyncio.sleep(0)
    for _ in range(LOOKS + 1):
        stall._look()
    task.cancel()
    async with asyncio.timeout(10):
        assert await task == "cancelled"


async def test_a_reader_that_takes_its_time_and_one_that_gets_tokens_do_not_stall() -> None:
    pieces = 1
    stall = Stall(60, lambda: pieces)
    for _ in range(5 * LOOKS):
        stall._look()
    stall.waiting = asyncio.current_task()
    for _ in range(5 * LOOKS):
        pieces += 1
        stall._look()
    stall.stop()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_the_first_piece_has_a_limit_of_its_own() -> None:
    stall = Stall(60, lambda: 0, first=120)
    stall.waiting = task = asyncio.create_task(asyncio.Event().wait())
    for _ in range(2 * LOOKS):
        stall._look()
    assert task.cancelling() == 0
    stall._look()
    assert task.cancelling() == 1
    await asyncio.gather(task, return_exceptions=True)
    stall.stop()


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "raw": ("/v1/chat/completions", {"model": f"vllm/{MODEL}", "messages": ASK, "stream": True}),
    "auto": ("/v1/chat/completions", {"model": "auto", "messages": ASK, "stream": True}),
    "turn": ("/portal/turns", {"messages": ASK}),
}


@pytest.mark.parametrize("pings", [0, 10])
@pytest.mark.parametrize("case", CASES)
def test_a_stream_that_stalls_ends_with_an_error_whether_or_not_it_pings(
    start_portal: StartPortal, openai_server: Fake, case: str, pings: int
) -> None:
    openai_server.script(tokens=[" a", " b", " c"], stall_after=2, ping_ms=pings)
    portal = start_portal(routing={"token_seconds": 0.2}, backends=[openai_server.backend("vllm")])
    path, body = CASES[case]
    answer = portal.client.post(path, json=body)
    assert " b" in answer.text
    last = [line for line in answer.text.splitlines() if line.startswith("data: {")][-1]
    told = json.loads(last.removeprefix("data: "))
    error = told.get("error", told)
    assert error["code"] == "backend_timeout"
    assert "routing.token_seconds" in error["message"]
    openai_server.wait("closed", path="/v1/chat/completions")


def test_a_raw_model_of_another_dialect_stalls_too(start_portal: StartPortal, ollama: Fake) -> None:
    ollama.script(path="/api/chat", tokens=[" a", " b", " c"], stall_after=2)
    portal = start_portal(routing={"token_seconds": 0.2}, backends=[ollama.backend("ollama")])
    body = {"model": "ollama/qwen2.5:7b", "messages": ASK}
    answer = portal.client.post("/v1/chat/completions", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "backend_timeout")
