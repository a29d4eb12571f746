"""Whoever is cancelled, when and how often: slots come back, and backends see it."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from tests.fakes.wire import Rig, Wire, replying, rig

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = OK + b"content-length: 0\r\n\r\n"
HEAD_OF_STREAM = OK + b"transfer-encoding: chunked\r\n\r\n"
Cancel = Callable[["asyncio.Task[Any]"], Coroutine[Any, Any, None]]
RUNS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
Run = Callable[[Coroutine[Any, Any, None]], None]


async def settled(condition: Callable[[], bool]) -> None:
    """Let the loop run until the condition holds; the rig bounds the wait."""
    while not condition():  # noqa: ASYNC110  the condition is the transport's own state
        await asyncio.sleep(0)


async def cancelled(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_waiter_cancelled_before_its_turn_is_skipped() -> None:
    async with rig(replying(EMPTY), max_connections=1) as r:
        tasks = [asyncio.ensure_future(r.read()) for _ in range(3)]
        await settled(lambda: r.transport.waiting == 2)
        await cancelled(tasks[1])
        assert await tasks[0] == await tasks[2] == (200, b"")


@pytest.mark.parametrize("keep", [True, False])
async def test_a_waiter_cancelled_after_its_turn_came_passes_it_on(keep: bool) -> None:
    async def script(wire: Wire) -> None:
        while await wire.request():
            await wire.send(OK + b"content-length: 1\r\n\r\n")
            await finish.wait()
            await wire.send(b"x")

    finish = asyncio.Event()
    async with rig(script, max_connections=1) as r:
        first = await r.ask()
        second, third = asyncio.ensure_future(r.ask()), asyncio.ensure_future(r.read())
        await settled(lambda: r.transport.waiting == 2)
        finish.set()
        if keep:
            await first.read(1)
        else:
            await first.aclose()
        # The slot went to `second`, which has not run since.
        assert (r.transport.waiting, r.transport.active) == (1, 1)
        await cancelled(second)
        assert await third == (200, b"x")


async def cancel_twice(task: "asyncio.Task[Any]") -> None:
    """Cancel, and cancel again while the first cancellation is being handled."""
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def careful(r: Rig, **request: Any) -> None:
    """A caller that cleans up as callers do: with an await of its own."""
    reply = None
    try:
        reply = await r.ask(**request)
        async for _ in reply:
            pass
    finally:
        if reply is not None:
            await reply.aclose()
        await asyncio.sleep(0)


@pytest.mark.parametrize("cancel", [cancelled, cancel_twice])
@pytest.mark.parametrize("where", ["waiting", "connecting", "writing", "first byte", "body"])
async def test_cancelled_anywhere_the_slot_is_given_back_and_the_server_sees_it(
    where: str, cancel: Cancel
) -> None:
    async def script(wire: Wire) -> None:
        if wire.number == 1 and where == "writing":
            await wire.read(10)
            await release.wait()  # more of the body than fits is left unread
            await wire.gone()
        while await wire.request():
            if wire.number == 1:
                if where == "body":
                    await wire.send(HEAD_OF_STREAM, b"1\r\na\r\n")
                await wire.gone()
            await wire.send(EMPTY)

    release = asyncio.Event()
    async with rig(script, max_connections=1) as r:
        body = b"x" * 8_000_000 if where == "writing" else b""
        first = asyncio.ensure_future(careful(r, method="POST", body=body))
        if where == "waiting":
            await settled(lambda: len(r.server.requests) == 1)
            waiter = asyncio.ensure_future(careful(r))
            await settled(lambda: r.transport.waiting == 1)
            await cancel(waiter)
            assert (r.transport.active, r.transport.waiting) == (1, 0)
        elif where == "connecting":
            await settled(lambda: r.transport.active == 1)
        elif where == "writing":
            await settled(lambda: r.server.accepted == 1)
            for _ in range(20):
                await asyncio.sleep(0)
        else:
            await settled(lambda: len(r.server.requests) == 1)
            for _ in range(20):
                await asyncio.sleep(0)
        assert not first.done()
        await cancel(first)
        release.set()
        assert (r.transport.active, r.transport.idle) == (0, 0)
        await r.server.until_open(0)
        if r.server.accepted == 0:
            await r.read()  # the connection was never made: this is the first
        assert r.transport.active == 0


async def storm() -> None:
    """Cancel 300 streams twice each; the next request works."""

    async def script(wire: Wire) -> None:
        while request := await wire.request():
            if request.line.startswith(b"GET /last"):
                await wire.send(EMPTY)
                continue
            await wire.send(HEAD_OF_STREAM)
            while True:
                await wire.send(b"1\r\na\r\n")

    async with rig(script, max_connections=40, seconds=30) as r:
        streams = [asyncio.ensure_future(careful(r)) for _ in range(300)]
        await settled(lambda: r.transport.active == 40 and r.transport.waiting == 260)
        await settled(lambda: len(r.server.requests) >= 20)
        for stream in streams:
            stream.cancel()
        await asyncio.sleep(0)
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
        assert (r.transport.active, r.transport.waiting, r.transport.idle) == (0, 0, 0)
        assert await r.read(path="/last") == (200, b"")
        await r.server.until_open(1)


@RUNS
def test_300_streams_cancelled_twice_leave_nothing_behind(run: Run) -> None:
    run(storm())


async def churn() -> None:
    """Cancel callers at every moment of their life, one loop iteration later each time."""
    async with rig(replying(EMPTY), max_connections=2, seconds=30) as r:
        for moment in range(40):
            tasks = [asyncio.ensure_future(r.read(method="POST", body=b"x")) for _ in range(4)]
            for _ in range(moment):
                await asyncio.sleep(0)
            for task in tasks[:3]:
                task.cancel()
            await asyncio.gather(*tasks[:3], return_exceptions=True)
            assert await tasks[3] == (200, b"")
            assert (r.transport.active, r.transport.waiting) == (0, 0)


@RUNS
def test_a_cancellation_at_any_moment_harms_no_other_caller(run: Run) -> None:
    run(churn())
