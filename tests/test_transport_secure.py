"""HTTPS backends go through stock httpx; callers see the same answers, errors and clean-up."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from portal.runtime.backends.limits import Limits
from portal.runtime.backends.pool import Pool
from portal.shared.errors import BackendBroken, BackendTimeout, BackendUnreachable, ShuttingDown
from tests.fakes.wire import Script, Wire, WireServer, free_port, replying, serving

# For `localhost` and 127.0.0.1, signed by itself, good for a century and for nothing else.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIURzwNJHuDTsU0fk6K9+q3UHeBwUIwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjIwMDk1MFoYDzIxMjYxMDI5
MjAwOTUwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQ1zxzzhRmpQcne39PmYMc2YX4h5+5TmwBn5yle5WzoQ2L7WdYhtjov
t7a2ZAjXNeGWTeBisfId8stZ1vFw5+3Lo28wbTAdBgNVHQ4EFgQUgoowshsnp+G7
WPU2XNKRnXpfNl0wHwYDVR0jBBgwFoAUgoowshsnp+G7WPU2XNKRnXpfNl0wDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIhAJGxZbyFBisX39GLRc2h2wxTiHZu/bNjjvf4EitrapWSAiBI
vukJceqNepiKJ16xSOokqPXIHPORZoPo0atDpFrQbg==
-----END CERTIFICATE-----
"""
KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgPrDaEHYl0mgLGMVD
/Go9urC97vffxBctAjgqk2koGw+hRANCAAQ1zxzzhRmpQcne39PmYMc2YX4h5+5T
mwBn5yle5WzoQ2L7WdYhtjovt7a2ZAjXNeGWTeBisfId8stZ1vFw5+3L
-----END PRIVATE KEY-----
"""
OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = OK + b"content-length: 0\r\n\r\n"


@contextlib.asynccontextmanager
async def secured(
    script: Script, folder: Path, *, trusted: bool = True, max_connections: int = 2
) -> AsyncIterator[tuple[Pool, WireServer]]:
    (folder / "cert.pem").write_text(CERTIFICATE, encoding="utf-8")
    (folder / "key.pem").write_text(KEY, encoding="utf-8")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    trust = ssl.create_default_context(cadata=CERTIFICATE) if trusted else None
    async with asyncio.timeout(20), serving(script, context=context) as server:
        pool = Pool(
            f"https://user:pw@127.0.0.1:{server.port}/p",
            name="far",
            max_connections=max_connections,
            limits=Limits(5, 5, 5, 10, 5),
            context=trust,
        )
        try:
            yield pool, server
        finally:
            await pool.aclose()


async def settled(pool: Pool) -> None:
    while pool.active:  # noqa: ASYNC110  a task's end is what is waited for
        await asyncio.sleep(0)


async def test_an_https_backend_is_asked_like_any_other(tmp_path: Path) -> None:
    answer = OK + b"X-A: b\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    async with secured(replying(answer), tmp_path) as (pool, server):
        reply = await pool.request("POST", "/v1?a=b", b"xyz", ((b"x-own", b"1"),))
        assert (reply.status, reply.headers[0]) == (200, (b"x-a", b"b"))
        assert b"".join([chunk async for chunk in reply]) == b"{}"
        assert await pool.get_json("/", dict[str, Any]) == {}
        await settled(pool)
        assert server.accepted == 1
    head = server.requests[0].head.lower()
    assert head.startswith(b"post /p/v1?a=b http/1.1\r\n")
    assert b"authorization: basic dxnlcjpwdw==\r\n" in head
    for line in (b"accept-encoding: identity", b"x-own: 1", b"content-length: 3"):
        assert head.count(line + b"\r\n") == 1
    assert head.count(b"host:") == head.count(b"accept:") == 1
    assert server.requests[0].body == b"xyz"
    assert b"content-length" not in server.requests[1].head.lower()


async def test_a_redirect_is_an_answer_and_not_followed(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 302 F\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
    async with secured(replying(answer), tmp_path) as (pool, _):
        assert (await pool.request("GET", "/")).status == 302


async def test_a_certificate_that_is_not_trusted_is_said_so(tmp_path: Path) -> None:
    async with secured(replying(EMPTY), tmp_path, trusted=False) as (pool, _):
        with pytest.raises(BackendUnreachable, match="certificate is not trusted"):
            await pool.request("GET", "/")


async def test_nobody_listening_is_unreachable() -> None:
    pool = Pool(f"https://127.0.0.1:{free_port()}", name="far")
    with pytest.raises(BackendUnreachable, match="'far' at https://127"):
        await pool.request("GET", "/")
    await pool.aclose()


@pytest.mark.parametrize(
    ("pieces", "limits", "message"),
    [
        ((), Limits(first_byte=0.1), "first byte .* first_byte = 0.1 s"),
        ((OK + b"\r\nx",), Limits(stall=0.1), "body .* stall = 0.1 s"),
        ((OK + b"\r\nx",), Limits(total=0.3), "body .* total = 0.3 s"),
    ],
)
async def test_limits_are_named_as_for_plain_http(
    tmp_path: Path, pieces: tuple[bytes, ...], limits: Limits, message: str
) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(*pieces)
        await wire.gone()

    async with secured(script, tmp_path) as (pool, _):
        with pytest.raises(BackendTimeout, match=message):
            await (await pool.request("GET", "/", limits=limits)).read(100)
        await settled(pool)


async def test_a_full_pool_and_a_broken_answer_are_told_apart(tmp_path: Path) -> None:
    async def script(wire: Wire) -> None:
        request = await wire.request()
        assert request is not None
        if b"broken" in request.line:
            await wire.send(b"rubbish\r\n\r\n")
            return
        await wire.send(OK + b"\r\nx")
        await wire.gone()

    async with secured(script, tmp_path, max_connections=1) as (pool, _):
        with pytest.raises(BackendBroken, match="'far'"):
            await pool.request("GET", "/broken")
        reply = await pool.request("GET", "/held")
        with pytest.raises(BackendTimeout, match=r"pool = 0.05 s"):
            await pool.request("GET", "/", limits=Limits(pool=0.05))
        await reply.aclose()
        await settled(pool)


async def test_a_cut_answer_is_broken(tmp_path: Path) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK + b"content-length: 9\r\n\r\nhalf")

    async with secured(script, tmp_path) as (pool, _):
        with pytest.raises(BackendBroken):
            await (await pool.request("GET", "/")).read(100)


async def test_an_answer_over_the_limit_or_closed_early_frees_the_backend(tmp_path: Path) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK + b"\r\n")
        while True:
            await wire.send(b"x" * 10_000)

    async with secured(script, tmp_path) as (pool, server):
        with pytest.raises(BackendBroken, match="50000 bytes"):
            await (await pool.request("GET", "/")).read(50_000)
        await server.until_open(0)
        reply = await pool.request("GET", "/")
        assert await anext(aiter(reply))
        for _ in range(2):
            await reply.aclose()
        assert pool._secure is not None
        # A second cancellation is what httpx does not survive.
        assert [task.cancelling() for task in pool._secure._tasks] == [1]
        await server.until_open(0)
        await settled(pool)


async def test_a_slow_reader_stops_the_server_and_loses_nothing(tmp_path: Path) -> None:
    size, count, sent = 250_000, 100, 0

    async def script(wire: Wire) -> None:
        nonlocal sent
        await wire.request()
        await wire.send(OK + b"content-length: %d\r\n\r\n" % (size * count))
        for _ in range(count):
            await wire.send(b"x" * size)
            sent += 1

    async with secured(script, tmp_path) as (pool, _):
        reply = await pool.request("GET", "/")
        await asyncio.sleep(0.3)
        before = sent
        assert before < count
        await asyncio.sleep(0.05)
        assert sent == before, "the server could go on although nobody reads"
        assert len(await reply.read(size * count)) == size * count


async def test_closing_the_pool_ends_what_runs(tmp_path: Path) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK + b"\r\nx")
        await wire.gone()

    async with secured(script, tmp_path) as (pool, server):
        reply = await pool.request("GET", "/")
        await pool.aclose()
        assert pool.active == 0
        assert await anext(aiter(reply)) == b"x"
        with pytest.raises(ShuttingDown):
            await reply.read(100)
        with pytest.raises(ShuttingDown):
            await pool.request("GET", "/")
        await server.until_open(0)


async def test_streams_cancelled_twice_leave_nothing_behind(tmp_path: Path) -> None:
    async def script(wire: Wire) -> None:
        while request := await wire.request():
            if b"/last" in request.line:
                await wire.send(EMPTY)
                continue
            await wire.send(OK + b"transfer-encoding: chunked\r\n\r\n")
            while True:
                await wire.send(b"1\r\na\r\n")

    async def stream(pool: Pool) -> None:
        reply = None
        try:
            reply = await pool.request("GET", "/")
            async for _ in reply:
                pass
        finally:
            if reply is not None:
                await reply.aclose()
            await asyncio.sleep(0)

    async with secured(script, tmp_path, max_connections=5) as (pool, server):
        streams = [asyncio.ensure_future(stream(pool)) for _ in range(30)]
        while len(server.requests) < 5:  # noqa: ASYNC110
            await asyncio.sleep(0)
        for _ in range(2):
            for task in streams:
                task.cancel()
            await asyncio.sleep(0)
        await asyncio.gather(*streams, return_exceptions=True)
        await settled(pool)
        assert (await pool.request("GET", "/last")).status == 200
