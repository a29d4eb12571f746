"""A backend's pool: what it sends, and what people are told when a backend fails them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest

from portal.runtime.backends.limits import Limits
from portal.runtime.backends.pool import Pool
from portal.shared.errors import (
    BackendBroken,
    BackendError,
    BackendRefused,
    BackendTimeout,
    BackendUnreachable,
    ConfigurationError,
    ShuttingDown,
)
from tests.fakes.wire import Script, Wire, WireServer, free_port, replying, serving

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = OK + b"content-length: 0\r\n\r\n"


class Version(msgspec.Struct):
    version: str


def answer(body: bytes, status: bytes = b"200 OK", *headers: bytes) -> bytes:
    more = b"".join(header + b"\r\n" for header in headers)
    return b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n%b" % (status, more, len(body), body)


@contextlib.asynccontextmanager
async def pooled(
    script: Script,
    *,
    path: str = "",
    limits: Limits = Limits(10, 10, 10, 10, 10),  # noqa: B008
) -> AsyncIterator[tuple[Pool, WireServer]]:
    async with asyncio.timeout(15), serving(script) as server:
        pool = Pool(server.url + path, name="box", max_connections=2, limits=limits)
        try:
            yield pool, server
            assert pool.active == 0
        finally:
            await pool.aclose()


async def test_a_request_carries_host_prefix_key_and_asks_for_plain_bytes() -> None:
    async with asyncio.timeout(10), serving(replying(EMPTY)) as server:
        pool = Pool(f"{server.url}/llm/", name="box", api_key="k-1", headers=((b"x-fixed", b"1"),))
        for _ in range(2):
            reply = await pool.request("POST", "/v1/chat?a=b", b"{}", ((b"x-own", b"2"),))
            assert (reply.status, await reply.read(10)) == (200, b"")
        assert (pool.active, pool.idle) == (0, 1)
        await pool.aclose()
        assert pool.idle == 0
    request = server.requests[1]
    lines = request.head.split(b"\r\n")
    assert lines[0] == b"POST /llm/v1/chat?a=b HTTP/1.1"
    assert sorted(lines[1:-2]) == [
        b"accept-encoding: identity",
        b"accept: */*",
        b"authorization: Bearer k-1",
        b"content-length: 2",
        b"content-type: application/json",
        b"host: 127.0.0.1:%d" % server.port,
        b"x-fixed: 1",
        b"x-own: 2",
    ]
    assert request.body == b"{}"


async def test_the_type_of_a_body_may_be_named_and_a_get_has_none() -> None:
    async with pooled(replying(EMPTY)) as (pool, server):
        await pool.request("POST", "/a", b"x", ((b"Content-Type", b"audio/wav"),))
        await pool.request("GET", "/b")
        await pool.request("POST", "/c")
    heads = [request.head for request in server.requests]
    assert heads[0].lower().count(b"content-type:") == 1
    assert b"content-type" not in heads[1]
    assert b"content-length" not in heads[1]
    assert b"content-length: 0\r\n" in heads[2]


async def test_credentials_in_the_url_are_sent_and_never_shown() -> None:
    async with asyncio.timeout(10), serving(replying(answer(b"no", b"401 No"))) as server:
        pool = Pool(f"http://me:p%40ss@127.0.0.1:{server.port}", name="box")
        with pytest.raises(BackendRefused) as caught:
            await pool.get_json("/", Version)
        await pool.aclose()
    assert b"authorization: Basic bWU6cEBzcw==\r\n" in server.requests[0].head
    assert "p%40ss" not in f"{caught.value} {pool.address}"


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        (((b"x", b"a\r\nb: c"),), "/"),
        (((b"x", b"a\0"),), "/"),
        (((b"x y", b"a"),), "/"),
        (((b"", b"a"),), "/"),
        (((b"Content-Length", b"1"),), "/"),
        (((b"transfer-encoding", b"chunked"),), "/"),
        ((), "/a b"),
        ((), "/a\r\nb: c"),
        ((), "no-slash"),
    ],
)
async def test_what_would_break_the_request_is_refused_before_it_is_sent(
    headers: tuple[tuple[bytes, bytes], ...], path: str
) -> None:
    async with pooled(replying(EMPTY)) as (pool, server):
        with pytest.raises(ValueError, match=r"header|target|path"):
            await pool.request("POST", path, b"", headers)
        assert server.accepted == 0


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:1",
        "ftp://x",
        "http://",
        "http://h:99999",
        "http://h/?q=1",
        "http://u:secret@",
    ],
)
def test_a_wrong_url_is_a_configuration_error_that_shows_no_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"'box' .*http://127\.0\.0\.1") as caught:
        Pool(url, name="box")
    assert "secret" not in str(caught.value)


def test_a_key_with_a_line_break_is_a_configuration_error_that_does_not_show_it() -> None:
    with pytest.raises(ConfigurationError, match="authorization") as caught:
        Pool("http://127.0.0.1:1", name="box", api_key="sk-hidden\nx")
    assert "hidden" not in str(caught.value)


async def test_json_is_decoded_to_the_type_asked_for() -> None:
    async with pooled(replying(answer(b'{"version": "1", "more": 2}'))) as (pool, server):
        assert await pool.get_json("/api/version", Version) == Version("1")
        assert await pool.post_json("/api/show", Version("2"), Version) == Version("1")
        assert server.requests[1].body == b'{"version":"2"}'


@pytest.mark.parametrize(
    ("raw", "message", "retry_after"),
    [
        (answer(b'{"error": {"message": "no such model"}}', b"404 Not"), "no such model", None),
        (answer(b'{"error": "busy"}', b"429 Slow", b"Retry-After: 7"), "busy", 7.0),
        (answer(b'{"detail": "x"}', b"503 No", b"retry-after: soon"), "x", None),
        (
            answer(b"", b"503 No", b"retry-after: Wed, 21 Oct 2015 07:28:00 GMT"),
            "gives no reason",
            0.0,
        ),
        (answer(b"<h1>Oops</h1>", b"500 Bad"), "<h1>Oops</h1>", None),
        (answer(b"\xff\xfe", b"500 Bad"), "answered 500", None),
        (answer(b"[" * 5000, b"500 Bad"), "answered 500", None),
        (answer(b"key sk-own is wrong", b"401 No"), r"key \[key\] is wrong", None),
        (answer(b"", b"301 Moved", b"location: http://x/"), "redirects", None),
    ],
)
async def test_a_refusal_is_told_in_the_backends_words(
    raw: bytes, message: str, retry_after: float | None
) -> None:
    async with asyncio.timeout(10), serving(replying(raw)) as server:
        pool = Pool(server.url, name="box", api_key="sk-own")
        with pytest.raises(BackendRefused, match=message) as caught:
            await pool.get_json("/", Version)
        await pool.aclose()
    assert caught.value.backend == "box"
    assert caught.value.status == int(raw.split()[1])
    assert caught.value.retry_after == retry_after


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"version": 1}', b"[]", b'{"version": "\xff"}', b"[" * 100_000]
)
async def test_an_answer_that_is_not_what_was_asked_for_is_broken(body: bytes) -> None:
    async with pooled(replying(answer(body))) as (pool, _):
        with pytest.raises(BackendBroken, match="'box' at http://127"):
            await pool.get_json("/", Version)


async def test_an_endless_json_answer_is_broken_and_cut_off() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK + b"\r\n")
        while True:
            await wire.send(b" " * 1_000_000)

    async with pooled(script) as (pool, server):
        with pytest.raises(BackendBroken, match="33554432"):
            await pool.get_json("/", Version)
        await server.until_open(0)


async def test_a_backend_that_is_not_there_is_unreachable() -> None:
    pool = Pool(f"http://127.0.0.1:{free_port()}", name="box")
    with pytest.raises(
        BackendUnreachable, match=r"'box' at http://127.*refused.*running"
    ) as caught:
        await pool.request("GET", "/")
    assert caught.value.backend == "box"
    await pool.aclose()


@pytest.mark.parametrize(
    ("pieces", "limits", "expected", "message"),
    [
        ((), Limits(first_byte=0.03), BackendTimeout, "too slow.*first_byte = 0.03 s"),
        ((OK + b"\r\nx",), Limits(stall=0.03), BackendTimeout, "too slow.*stall = 0.03 s"),
        ((b"rubbish",), Limits(), BackendBroken, "malformed"),
        ((OK + b"content-length: 9\r\n\r\nhalf",), Limits(), BackendBroken, "before the end"),
    ],
)
async def test_failures_before_and_within_the_body_are_portals_errors(
    pieces: tuple[bytes, ...],
    limits: Limits,
    expected: type[BackendError],
    message: str,
) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(*pieces)
        if expected is BackendTimeout:
            await wire.gone()

    async with pooled(script) as (pool, _):
        with pytest.raises(expected, match=message) as caught:
            await (await pool.request("GET", "/", limits=limits)).read(100)
        assert "'box' at http://127.0.0.1" in str(caught.value)


async def test_a_full_pool_says_that_the_backend_is_busy() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK + b"\r\nx")
        await wire.gone()

    async with pooled(script) as (pool, _):
        replies = [await pool.request("GET", "/") for _ in range(2)]
        with pytest.raises(BackendTimeout, match=r"busy.*pool = 0.03 s.*max_connections"):
            await pool.request("GET", "/", limits=Limits(pool=0.03))
        for reply in replies:
            await reply.aclose()


async def test_a_closed_pool_says_so_to_readers_and_newcomers() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK + b"\r\nx")
        await wire.gone()

    async with pooled(script) as (pool, server):
        reply = await pool.request("GET", "/")
        assert await anext(aiter(reply)) == b"x"
        for _ in range(2):
            await pool.aclose()
        with pytest.raises(ShuttingDown):
            await reply.read(100)
        with pytest.raises(ShuttingDown):
            await pool.request("GET", "/")
        await server.until_open(0)


async def test_closing_works_in_a_task_that_is_being_cancelled() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK + b"\r\nx")
        await wire.gone()

    async with pooled(script) as (pool, server):

        async def caller() -> None:
            reply = await pool.request("GET", "/")
            try:
                await anext(aiter(reply))
                await asyncio.Event().wait()
            finally:
                current = asyncio.current_task()
                assert current is not None
                current.cancel()
                await reply.aclose()
                await pool.aclose()

        task = asyncio.ensure_future(caller())
        while server.accepted == 0 or pool.active == 0:  # noqa: ASYNC110
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.until_open(0)


async def test_many_different_requests_do_not_grow_the_pool() -> None:
    async with pooled(replying(EMPTY)) as (pool, _):
        for number in range(600):
            await pool.request("GET", f"/{number}")
        assert len(pool._heads) <= 256
