"""Each limit ends what it names, none ends anything else; slow readers slow the server down."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import httpx
import pytest
import uvloop

from portal.runtime.backends.exchange import HIGH_WATER
from portal.runtime.backends.limits import Limits
from portal.runtime.backends.transport import LocalTransport, Origin
from tests.fakes.wire import Wire, rig

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = OK + b"content-length: 0\r\n\r\n"
LONG = Limits(10, 10, 10, 10, 10)
RUNS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
Run = Callable[[Coroutine[Any, Any, None]], None]


def saying(*pieces: bytes) -> Callable[[Wire], Coroutine[Any, Any, None]]:
    """Answer with the pieces, then hold the line."""

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(*pieces)
        await wire.gone()

    return script


@pytest.mark.parametrize(
    ("pieces", "limits", "message"),
    [
        ((), Limits(first_byte=0.03), "first byte took longer than the limit first_byte = 0.03 s"),
        ((), Limits(total=0.03), "first byte took longer than the limit total = 0.03 s"),
        ((OK,), Limits(stall=0.03), "head took longer than the limit stall = 0.03 s"),
        ((OK, b"\r\n", b"a"), Limits(stall=0.03), "body .* stall = 0.03 s"),
        ((OK, b"\r\n", b"a"), Limits(total=0.03), "body .* total = 0.03 s"),
        (
            (b"HTTP/1.1 103 Early\r\n\r\n",),
            Limits(first_byte=0.03, stall=9),
            "first_byte = 0.03 s",
        ),
    ],
)
async def test_a_silent_server_is_given_up_after_the_limit_of_the_phase(
    pieces: tuple[bytes, ...], limits: Limits, message: str
) -> None:
    async with rig(saying(*pieces)) as r:
        with pytest.raises(httpx.ReadTimeout, match=message):
            await r.read(limits=limits)
        await r.server.until_open(0)
        assert (r.transport.active, r.transport.idle) == (0, 0)


async def test_what_came_before_a_stall_is_read_first() -> None:
    async with rig(saying(OK, b"content-length: 9\r\n\r\nhalf")) as r:
        reply = await r.ask(limits=Limits(stall=0.03))
        await r.server.until_open(0)
        assert await anext(reply) == b"half"
        with pytest.raises(httpx.ReadTimeout):
            await anext(reply)


async def trickle() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK + b"content-length: 12\r\n\r\n")
        for _ in range(12):
            await asyncio.sleep(0.05)
            await wire.send(b"x")

    async with rig(script) as r:
        # Longer in all than the limit, which no single pause comes near.
        assert await r.read(limits=Limits(stall=0.5)) == (200, b"x" * 12)


@RUNS
def test_a_slow_but_steady_answer_is_not_a_stall(run: Run) -> None:
    run(trickle())


async def test_a_limit_of_an_earlier_exchange_does_not_end_a_later_one() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(EMPTY)
        await wire.request()
        await asyncio.sleep(0.6)
        await wire.send(EMPTY)

    async with rig(script) as r:
        await r.read(limits=Limits(first_byte=0.5, stall=0.5, total=0.5))
        assert await r.read(limits=LONG) == (200, b"")
        assert r.server.accepted == 1


async def test_a_shorter_limit_than_the_one_before_is_kept() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(EMPTY)
        await wire.request()
        await wire.gone()

    async with rig(script) as r:
        await r.read(limits=LONG)
        with pytest.raises(httpx.ReadTimeout, match=r"first_byte = 0.03"):
            await r.read(limits=Limits(first_byte=0.03))


async def test_a_server_that_takes_no_connection_is_a_connect_timeout() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        full = []
        for _ in range(4):  # a full backlog drops what follows
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            full.append(one)
        transport = LocalTransport(limits=Limits(connect=0.05))
        origin = Origin("127.0.0.1", port)
        with pytest.raises(httpx.ConnectTimeout, match=r"connect = 0.05 s"):
            await transport.exchange(origin, b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(httpx.ConnectTimeout, match=r"total = 0.02 s"):
            await transport.exchange(
                origin, b"GET / HTTP/1.1\r\n\r\n", b"", Limits(connect=5, total=0.02)
            )
        assert transport.active == 0
        await transport.aclose()
        for one in full:
            one.close()


async def blocked_write() -> None:
    async def script(wire: Wire) -> None:
        await wire.read(10)
        await over.wait()

    over = asyncio.Event()
    async with rig(script) as r:
        with pytest.raises(httpx.WriteTimeout, match=r"request's body .* stall = 0.1 s"):
            await r.read(method="POST", body=b"x" * 16_000_000, limits=Limits(stall=0.1))
        over.set()
        assert r.transport.active == 0


@RUNS
def test_a_server_that_takes_no_more_of_the_body_is_a_write_timeout(run: Run) -> None:
    run(blocked_write())


async def test_a_body_taken_slowly_but_steadily_is_sent_whole() -> None:
    size = 6_000_000

    async def script(wire: Wire) -> None:
        await wire.read(len(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 6000000\r\n\r\n"))
        for _ in range(20):
            await asyncio.sleep(0.035)
            await wire.read(size // 20)
        await wire.send(EMPTY)

    async with rig(script) as r:
        limits = Limits(stall=0.6)
        assert await r.read(method="POST", body=b"x" * size, limits=limits) == (200, b"")


async def test_an_early_refusal_is_read_although_the_body_was_not_sent() -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno"

    async def script(wire: Wire) -> None:
        await wire.read(10)
        await wire.send(refusal)
        await over.wait()

    over = asyncio.Event()
    async with rig(script) as r:
        assert await r.read(method="POST", body=b"x" * 16_000_000) == (413, b"no")
        assert r.transport.idle == 0
        over.set()


async def test_a_refusal_that_streams_is_returned_before_the_body_was_sent() -> None:
    async def script(wire: Wire) -> None:
        await wire.read(10)
        await wire.send(b"HTTP/1.1 413 Too Large\r\n\r\n", b"no")
        await over.wait()

    over = asyncio.Event()
    async with rig(script) as r:
        reply = await r.ask(method="POST", body=b"x" * 16_000_000)
        assert reply.status == 413
        over.set()
        await reply.aclose()


async def test_a_caller_slow_to_make_its_body_is_not_a_write_timeout() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        await asyncio.sleep(0.2)
        yield b"two"

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(EMPTY)

    async with rig(script) as r:
        head = b"POST / HTTP/1.1\r\ncontent-length: 6\r\n\r\n"
        origin = Origin(r.server.host, r.server.port)
        reply = await r.transport.exchange(origin, head, body(), Limits(stall=0.05))
        assert reply.status == 200
        assert r.server.requests[0].body == b"onetwo"


async def slow_reader() -> None:
    total = 64 * HIGH_WATER
    sent = 0

    async def script(wire: Wire) -> None:
        nonlocal sent
        await wire.request()
        await wire.send(OK + b"content-length: %d\r\n\r\n" % total)
        for _ in range(64):
            await wire.send(b"x" * HIGH_WATER)
            sent += HIGH_WATER
        await wire.gone()

    async with rig(script) as r:
        reply = await r.ask(limits=Limits(stall=0.3))
        # Longer than the stall limit, which is about the server and not about the reader.
        await asyncio.sleep(0.5)
        before = sent
        assert before < total
        await asyncio.sleep(0.05)
        assert sent == before, "the server could go on although nobody reads"
        assert reply.held < 4 * HIGH_WATER
        assert len(await reply.read(total)) == total
        assert r.transport.idle == 1


@RUNS
def test_a_slow_reader_stops_the_server_and_loses_nothing(run: Run) -> None:
    run(slow_reader())


async def test_the_total_limit_also_ends_an_answer_that_nobody_reads() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK + b"\r\n")
        while True:
            await wire.send(b"x" * HIGH_WATER)

    async with rig(script) as r:
        reply = await r.ask(limits=Limits(total=0.1))
        await r.server.until_open(0)
        assert r.transport.active == 0
        with pytest.raises(httpx.ReadTimeout, match="total"):
            await reply.read(1 << 30)
