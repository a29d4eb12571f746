"""What the local transport reads, and what it refuses to read."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from portal.runtime.backends.transport import LocalTransport
from tests.fakes.wire import Wire, replying, rig, serving

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = OK + b"content-length: 0\r\n\r\n"
KIB = 1024


async def test_status_headers_and_body_arrive_as_sent_with_lower_case_names() -> None:
    answer = b"HTTP/1.1 418 Teapot\r\nX-One: A b\r\nx-one:c\r\nContent-Length: 3\r\n\r\nabc"
    async with rig(replying(answer)) as r:
        reply = await r.ask()
        assert reply.status == 418
        assert reply.headers == [(b"x-one", b"A b"), (b"x-one", b"c"), (b"content-length", b"3")]
        assert await reply.read(3) == b"abc"
        assert [chunk async for chunk in reply] == []


async def test_a_request_arrives_with_its_body_in_both_directions_of_size() -> None:
    body = bytes(range(256)) * 16 * KIB  # 4 MiB, far over every socket buffer
    async with rig(replying(OK + b"content-length: %d\r\n\r\n" % len(body) + body)) as r:
        assert await r.read(method="POST", path="/a?b=c", body=body) == (200, body)
        assert await r.read(method="POST", body=b"small") == (200, body)
        assert r.server.requests[0].line == b"POST /a?b=c HTTP/1.1"
        assert [request.body for request in r.server.requests] == [body, b"small"]
        assert r.server.accepted == 1


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"content-length: 5\r\n\r\nhello",
        OK + b"transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nt: v\r\n\r\n",
        OK + b"Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"content-length: 5\r\n\r\nhello",
        b"HTTP/1.1 103 Early\r\nlink: a\r\n\r\nHTTP/1.1 102 P\r\n\r\n"
        + OK
        + b"content-length: 5\r\n\r\nhello",
    ],
)
async def test_an_answer_that_tells_its_length_leaves_the_connection_in_use(answer: bytes) -> None:
    async with rig(replying(answer)) as r:
        for _ in range(3):
            assert await r.read() == (200, b"hello")
        assert (r.server.accepted, r.transport.idle) == (1, 1)


async def test_interim_headers_do_not_leak_into_the_answer() -> None:
    answer = b"HTTP/1.1 103 Early\r\nlink: a\r\n\r\n" + EMPTY
    async with rig(replying(answer)) as r:
        reply = await r.ask()
        assert reply.headers == [(b"content-length", b"0")]


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_statuses_without_a_body_end_with_their_head(status: bytes) -> None:
    async with rig(replying(b"HTTP/1.1 " + status + b"\r\n\r\n")) as r:
        for _ in range(2):
            assert await r.read() == (int(status[:3]), b"")
        assert r.server.accepted == 1


async def test_the_answer_to_head_ends_with_its_head_whatever_length_it_names() -> None:
    async with rig(
        replying(OK + b"content-length: 5\r\n\r\n", OK + b"content-length: 2\r\n\r\nhi")
    ) as r:
        assert await r.read(method="HEAD") == (200, b"")
        assert await r.read() == (200, b"hi")
        assert r.server.accepted == 1


async def test_a_body_sent_after_head_is_dropped_with_its_connection() -> None:
    async with rig(replying(OK + b"content-length: 5\r\n\r\nhello", EMPTY)) as r:
        assert await r.read(method="HEAD") == (200, b"")
        assert await r.read(method="HEAD") == (200, b"")
        assert r.server.accepted == 2


@pytest.mark.parametrize(
    "head",
    [OK + b"\r\n", b"HTTP/1.0 200 OK\r\n\r\n", OK + b"connection: close\r\n\r\n"],
)
async def test_a_body_without_a_length_ends_with_the_connection(head: bytes) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(head + b"one ", b"two")

    async with rig(script) as r:
        assert await r.read() == (200, b"one two")
        assert r.transport.idle == 0


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"connection: close\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        EMPTY + EMPTY,
        OK + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\nrubbish",
        b"HTTP/1.1 204 No\r\n\r\nrubbish",
    ],
    ids=["close", "1.0", "second answer", "after chunks", "after 204"],
)
async def test_a_connection_out_of_step_or_ended_by_the_server_is_not_reused(
    answer: bytes,
) -> None:
    async with rig(replying(answer)) as r:
        for _ in range(2):
            assert (await r.read())[1] == b""
        assert (r.server.accepted, r.transport.idle) == (2, 0)


async def test_bytes_that_nobody_asked_for_close_an_idle_connection() -> None:
    go = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(EMPTY)
        if wire.number == 1:
            await go.wait()
            await wire.send(EMPTY)
            await wire.gone()

    async with rig(script) as r:
        await r.read()
        assert r.transport.idle == 1
        go.set()
        await r.server.until_open(0)
        assert r.transport.idle == 0
        assert await r.read() == (200, b"")


MALFORMED = {
    "no http": b"220 smtp ready\r\n",
    "bad version": b"HTTP/x 200 OK\r\n\r\n",
    "bad status": b"HTTP/1.1 abc OK\r\n\r\n",
    "status of two digits": b"HTTP/1.1 99 OK\r\n\r\n",
    "status of zeros": b"HTTP/1.1 000 OK\r\ncontent-length: 0\r\n\r\n",
    "bare line feeds": b"HTTP/1.1 200 OK\ncontent-length: 2\n\nhi",
    "null byte": OK + b"x: a\0b\r\ncontent-length: 0\r\n\r\n",
    "lone carriage return": OK + b"x: a\rb\r\ncontent-length: 0\r\n\r\n",
    "folded header": OK + b"x: a\r\n b\r\ncontent-length: 0\r\n\r\n",
    "blank in name": OK + b"x y: a\r\ncontent-length: 0\r\n\r\n",
    "empty name": OK + b": a\r\ncontent-length: 0\r\n\r\n",
    "negative length": OK + b"content-length: -1\r\n\r\n",
    "length in words": OK + b"content-length: two\r\n\r\nhi",
    "empty length": OK + b"content-length: \r\n\r\n",
    "huge length": OK + b"content-length: 99999999999999999999999\r\n\r\n",
    "same length twice": OK + b"content-length: 2\r\ncontent-length: 2\r\n\r\nhi",
    "two lengths": OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nhi!",
    "list of lengths": OK + b"content-length: 2, 2\r\n\r\nhi",
    "length and chunks": OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": OK + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n",
    "compressed transfer": OK + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "unknown transfer": OK + b"transfer-encoding: xchunked\r\n\r\nhi",
    "chunk size overflow": OK + b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    "negative chunk": OK + b"transfer-encoding: chunked\r\n\r\n-1\r\nhi\r\n0\r\n\r\n",
    "chunk without end": OK + b"transfer-encoding: chunked\r\n\r\n2\r\nhi0\r\n\r\n",
    "chunk with bare line feed": OK + b"transfer-encoding: chunked\r\n\r\n2\nhi\n0\n\n",
    "longer than its length": OK + b"content-length: 2\r\n\r\nhigher",
    "other protocol": b"HTTP/1.1 101 Switch\r\nconnection: upgrade\r\nupgrade: ws\r\n\r\nraw",
    "101 without upgrade": b"HTTP/1.1 101 Switch\r\n\r\n" + EMPTY,
    "status beyond 599": b"HTTP/1.1 600 Odd\r\n" + EMPTY,
}


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_malformed_answer_is_a_protocol_error_and_the_next_one_is_read(
    answer: bytes,
) -> None:
    async def script(wire: Wire) -> None:
        while await wire.request():
            await wire.send(answer if wire.number == 1 else EMPTY)

    async with rig(script) as r:
        with pytest.raises(httpx.RemoteProtocolError, match="answer"):
            await r.read()
        await r.server.until_open(0)
        assert await r.read() == (200, b"")


async def endless(wire: Wire, start: bytes, more: bytes) -> None:
    await wire.request()
    await wire.send(start)
    while True:
        await wire.send(more)


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (OK, b"x-more: " + b"a" * 1000 + b"\r\n"),
        (OK + b"x: ", b"a" * 1000),
        (OK, b"a" * 1000),
        (b"HTTP/1.1 200 ", b"a" * 1000),
        (b"", b"\r\n" * 500),
        (b"", b"HTTP/1.1 103 Early\r\n\r\n"),
        (OK + b"transfer-encoding: chunked\r\n\r\n0\r\n", b"x: " + b"a" * 1000 + b"\r\n"),
        (OK + b"transfer-encoding: chunked\r\n\r\n0\r\nx: ", b"a" * 1000),
        (OK + b"transfer-encoding: chunked\r\n\r\n1;", b"a" * 1000),
    ],
    ids=[
        "headers",
        "value",
        "name",
        "reason",
        "blank lines",
        "interim answers",
        "trailers",
        "trailer value",
        "chunk extension",
    ],
)
async def test_what_never_ends_before_the_body_is_refused(start: bytes, more: bytes) -> None:
    async with rig(lambda wire: endless(wire, start, more)) as r:
        with pytest.raises(httpx.RemoteProtocolError, match="65536"):
            await r.read()
        await r.server.until_open(0)


@pytest.mark.parametrize("size", [64 * KIB, 64 * KIB + 1])
@pytest.mark.parametrize("sliced", [False, True])
async def test_a_head_of_64_kib_is_read_and_one_byte_more_is_refused(
    size: int, sliced: bool
) -> None:
    end = b"\r\ncontent-length: 2\r\n\r\n"
    head = OK + b"x: " + b"a" * (size - len(OK) - 3 - len(end)) + end
    pieces = [head[at : at + 5000] for at in range(0, size, 5000)] if sliced else [head]

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(*pieces, b"hi")
        await wire.gone()

    async with rig(script) as r:
        if size == 64 * KIB:
            assert await r.read() == (200, b"hi")
        else:
            with pytest.raises(httpx.RemoteProtocolError, match="head"):
                await r.read()


@pytest.mark.parametrize("number", [60, 70])
async def test_trailers_over_64_kib_are_refused_although_they_end(number: int) -> None:
    trailers = (b"x: " + b"a" * (KIB - 5) + b"\r\n") * number
    answer = OK + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n" + trailers + b"\r\n"
    async with rig(replying(answer)) as r:
        if number < 64:
            assert await r.read() == (200, b"a")
        else:
            with pytest.raises(httpx.RemoteProtocolError, match="trailers"):
                await r.read()


@pytest.mark.parametrize(
    ("sent", "expected", "part"),
    [
        (b"", httpx.RemoteProtocolError, "any byte"),
        (OK[:9], httpx.RemoteProtocolError, "head"),
        (OK + b"content-length: 9\r\n\r\nhalf", httpx.RemoteProtocolError, "body"),
        (OK + b"transfer-encoding: chunked\r\n\r\n9\r\nhalf", httpx.RemoteProtocolError, "body"),
        (OK + b"transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", httpx.RemoteProtocolError, "end"),
    ],
)
async def test_a_truncated_answer_is_a_protocol_error(
    sent: bytes, expected: type[Exception], part: str
) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(sent)

    async with rig(script) as r:
        with pytest.raises(expected, match=part):
            await r.read()


async def test_a_connection_reset_within_the_body_is_a_read_error_after_what_came() -> None:
    cut = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK + b"content-length: 9\r\n\r\nhalf")
        await cut.wait()
        wire.reset()

    async with rig(script) as r:
        reply = await r.ask()
        assert await anext(reply) == b"half"
        cut.set()
        with pytest.raises(httpx.ReadError, match="broke"):
            await anext(reply)


async def test_reading_stops_at_the_limit_and_frees_the_backend() -> None:
    async with rig(lambda wire: endless(wire, OK + b"\r\n", b"a" * 1000)) as r:
        reply = await r.ask()
        with pytest.raises(httpx.RemoteProtocolError, match="5000 bytes"):
            await reply.read(5000)
        await r.server.until_open(0)


async def test_httpx_itself_runs_on_the_transport() -> None:
    answer = OK + b'content-type: application/json\r\ncontent-length: 8\r\n\r\n{"a": 1}'

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b""
        yield b"two"

    async with asyncio.timeout(10), serving(replying(answer)) as server:
        async with httpx.AsyncClient(transport=LocalTransport(), base_url=server.url) as client:
            assert (await client.get("/p?q=ü")).json() == {"a": 1}
            await client.post("/", json={"b": 2})
            await client.post("/", content=pieces())
            await client.post("/", content=pieces(), headers={"content-length": "6"})
            async with client.stream("GET", "/") as response:
                assert b"".join([chunk async for chunk in response.aiter_raw()]) == answer[-8:]
            with pytest.raises(httpx.LocalProtocolError, match="content-length"):
                await client.post("/", content=pieces(), headers={"content-length": "7"})
            with pytest.raises(httpx.LocalProtocolError, match="header"):
                await client.get("/", headers={"x": "a\r\nb: c"})
            with pytest.raises(httpx.UnsupportedProtocol):
                await client.get("https://127.0.0.1/")
        lines = [request.line for request in server.requests]
        assert lines[0] == b"GET /p?q=%C3%BC HTTP/1.1"
        bodies = [request.body for request in server.requests[1:4]]
        assert bodies == [b'{"b":2}', b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n", b"onetwo"]
