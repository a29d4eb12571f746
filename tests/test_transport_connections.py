"""How connections are shared, capped, kept, retried and closed."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from portal.runtime.backends.connections import Connections
from portal.runtime.backends.limits import Limits
from portal.runtime.backends.transport import LocalTransport, Origin
from tests.fakes.wire import Wire, free_port, replying, rig, serving

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = OK + b"content-length: 0\r\n\r\n"
HEAD_OF_STREAM = OK + b"transfer-encoding: chunked\r\n\r\n"


async def settled(condition: Callable[[], bool]) -> None:
    """Let the loop run until the condition holds; the rig bounds the wait."""
    while not condition():  # noqa: ASYNC110  the condition is the transport's own state
        await asyncio.sleep(0)


async def cancelled(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def hold(wire: Wire) -> None:
    """Take the request and say nothing."""
    await wire.request()
    await wire.gone()


async def test_no_more_connections_than_the_cap_and_all_callers_are_served() -> None:
    async with rig(replying(EMPTY), max_connections=3) as r:
        answers = await asyncio.gather(*[r.read() for _ in range(60)])
        assert answers == [(200, b"")] * 60
        assert r.server.accepted <= 3
        assert r.transport.idle == r.server.accepted


async def test_waiting_callers_are_served_first_come_first_served() -> None:
    served: list[int] = []
    async with rig(replying(EMPTY), max_connections=1) as r:

        async def one(number: int) -> None:
            await r.read(path=f"/{number}")
            served.append(number)

        await asyncio.gather(*[one(number) for number in range(12)])
    assert served == list(range(12))
    assert [request.line.split()[1] for request in r.server.requests] == [
        b"/%d" % number for number in range(12)
    ]


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    async with rig(replying(EMPTY), idle_seconds=0.05) as r:
        await asyncio.gather(r.read(), r.read())
        assert r.transport.idle == 2
        await r.server.until_open(0)
        assert r.transport.idle == 0
        assert await r.read() == (200, b"")
        assert r.server.accepted == 3


async def closes_second_request(wire: Wire) -> None:
    """Answer one request per connection, then close as the next one arrives."""
    await wire.request()
    await wire.send(EMPTY)
    await wire.request()


async def test_a_stale_kept_connection_is_tried_once_more_on_a_fresh_one() -> None:
    async with rig(closes_second_request) as r:
        for _ in range(3):
            assert await r.read(method="POST", body=b"x") == (200, b"")
        # Each but the first request was sent twice: on a connection that closed, and anew.
        assert (len(r.server.requests), r.server.accepted) == (5, 3)


async def test_a_stale_connection_that_is_reset_is_tried_once_more() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(EMPTY)
        await wire.request()
        wire.reset()

    async with rig(script) as r:
        for _ in range(3):
            assert await r.read() == (200, b"")


async def test_the_second_try_is_the_last() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        if wire.number == 1:
            await wire.send(EMPTY)
            await wire.request()

    async with rig(script) as r:
        await r.read()
        with pytest.raises(httpx.RemoteProtocolError, match="before any byte"):
            await r.read()
        assert r.server.accepted == 2


async def test_a_fresh_connection_that_closes_is_not_tried_again() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()

    async with rig(script) as r:
        with pytest.raises(httpx.RemoteProtocolError, match="before any byte"):
            await r.read()
        assert r.server.accepted == 1


@pytest.mark.parametrize("first_bytes", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", OK])
async def test_no_second_try_once_a_byte_was_answered(first_bytes: bytes) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(EMPTY)
        await wire.request()
        await wire.send(first_bytes)

    async with rig(script) as r:
        await r.read()
        with pytest.raises(httpx.RemoteProtocolError, match="head"):
            await r.read()
        assert r.server.accepted == 1


async def test_a_retry_that_must_wait_for_a_slot_still_gets_a_fresh_connection() -> None:
    async with rig(closes_second_request, max_connections=1) as r:
        await r.read()
        stale, other = await asyncio.gather(r.read(path="/stale"), r.read(path="/other"))
        assert stale == other == (200, b"")
        # `/other` got the slot first; its connection, good for one answer, was not given on.
        assert [request.line.split()[1] for request in r.server.requests] == [
            b"/",
            b"/stale",
            b"/other",
            b"/stale",
        ]
        assert (r.server.accepted, r.transport.idle) == (3, 1)


async def test_a_fresh_connection_takes_the_place_of_an_idle_one_at_the_cap() -> None:
    async with asyncio.timeout(10), serving(replying(EMPTY)) as server:
        connections = Connections(server.host, server.port, max_connections=2, idle_seconds=60)
        head = b"GET / HTTP/1.1\r\n\r\n"
        await asyncio.gather(*[connections.exchange(head, b"", Limits()) for _ in range(2)])
        assert connections.idle == 2
        fresh = await connections._acquire(Limits(total=math.inf), 0.0, fresh=True)
        assert not fresh.used
        assert (connections.active, connections.idle) == (1, 1)
        fresh.abort()
        connections.release(None)
        connections.close()


async def test_nobody_listening_is_a_connect_error_and_frees_the_slot() -> None:
    transport = LocalTransport(max_connections=1)
    for host in ("127.0.0.1", "localhost", "::1"):
        for _ in range(2):
            with pytest.raises(httpx.ConnectError, match="refused"):
                await transport.exchange(Origin(host, free_port()), b"GET / HTTP/1.1\r\n\r\n")
    assert transport.active == 0
    await transport.aclose()


@pytest.mark.parametrize("listening", ["127.0.0.1", "::1"])
async def test_localhost_is_found_on_either_family(listening: str) -> None:
    async with asyncio.timeout(10), serving(replying(EMPTY), host=listening) as server:
        transport = LocalTransport()
        origin = Origin("localhost", server.port)
        assert (await transport.exchange(origin, b"GET / HTTP/1.1\r\n\r\n")).status == 200
        await transport.aclose()


async def test_closing_a_half_read_answer_closes_the_connection_at_once() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(HEAD_OF_STREAM, b"1\r\na\r\n")
        await wire.gone()

    async with rig(script) as r:
        reply = await r.ask()
        assert await anext(reply) == b"a"
        for _ in range(2):
            await reply.aclose()
        assert r.transport.active == 0
        await r.server.until_open(0)
        with pytest.raises(httpx.ReadError, match="closed on this side"):
            await anext(reply)


async def test_closing_a_whole_answer_keeps_the_connection() -> None:
    async with rig(replying(EMPTY)) as r:
        reply = await r.ask()
        await reply.aclose()
        await r.read()
        assert r.server.accepted == 1


async def test_closing_while_another_task_reads_ends_that_read() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(HEAD_OF_STREAM)
        await wire.gone()

    async with rig(script) as r:
        reply = await r.ask()
        reading = asyncio.ensure_future(reply.read(10))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task"):
            await anext(reply)
        await reply.aclose()
        with pytest.raises(httpx.ReadError):
            await reading


async def test_closing_the_transport_ends_exchanges_and_turns_waiters_away() -> None:
    async with rig(hold, max_connections=1) as r:
        running, waiting = asyncio.ensure_future(r.ask()), asyncio.ensure_future(r.ask())
        await settled(lambda: len(r.server.requests) == 1 and r.transport.waiting == 1)
        await r.transport.aclose()
        with pytest.raises(httpx.ReadError):
            await running
        with pytest.raises(httpx.ConnectError):
            await waiting
        with pytest.raises(httpx.ConnectError):
            await r.ask()
        await r.server.until_open(0)


async def test_a_waiter_gives_up_after_the_pool_limit() -> None:
    async with rig(hold, max_connections=1) as r:
        first = asyncio.ensure_future(r.ask())
        await settled(lambda: len(r.server.requests) == 1)
        with pytest.raises(httpx.PoolTimeout, match=r"1 connections.* pool = 0.02 s"):
            await r.ask(limits=Limits(pool=0.02))
        with pytest.raises(httpx.PoolTimeout, match=r"total = 0.02 s"):
            await r.ask(limits=Limits(total=0.02))
        await cancelled(first)
