"""What happens on one connection: upgrades, limits, pipelining, bodies that nobody reads."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from portal.runtime.catalogue import Function
from portal.runtime.hosts.http_protocol import guarded_protocol
from portal.shared.contract import RawReply, RawRequest, Stream
from tests.serving_here import Connection, request_bytes, serving
from tests.test_host import function

GET = request_bytes("GET", "/x")
UPGRADE = (
    "connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "http2-settings: AAMAAABkAAQAoAAAAAIAAAAA",
)
LAST_CHUNK = b"0\r\n\r\n"


def echo(method: str = "POST") -> Function:
    """Make a function that answers the body it was sent."""

    async def handle(request: Any, context: Any) -> RawReply:
        told = (b"x-names", ",".join(request.headers).encode())
        return RawReply(200, (told,), request.body)

    return function("/x", handle, RawRequest, method)


class Slow:
    """A function at GET /slow whose stream goes on when the test says so."""

    def __init__(self, media_type: str = "text/event-stream") -> None:
        self.go_on = asyncio.Event()
        self.closed = asyncio.Event()
        self._media_type = media_type

    async def _items(self) -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await self.go_on.wait()
            yield b"second"
        finally:
            self.closed.set()

    @property
    def function(self) -> Function:
        """It, bound."""

        async def handle(request: Any, context: Any) -> Stream:
            return Stream(self._items(), media_type=self._media_type)

        return function("/slow", handle)

    async def begin(self, connection: Connection) -> None:
        """Ask for it, and read its beginning."""
        await connection.send(request_bytes("GET", "/slow"))
        await connection.until(b"first\r\n")


def split(data: bytes, size: int) -> list[bytes]:
    """Cut bytes into pieces of a size."""
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_behind_a_wish_to_upgrade_arrives(
    tmp_path: Path, size: int, chunked: bool
) -> None:
    body = b"Upgrade: h2c\r\nupgrade: yes"
    if chunked:
        head = request_bytes("POST", "/x", *UPGRADE, "transfer-encoding: chunked")
        sent = head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        sent = request_bytes("POST", "/x", *UPGRADE, body=body)
    async with serving(tmp_path, echo()) as served:
        connection = await served.connect(*split(sent * 2, size))
        for _ in range(2):
            status, head, answered = await connection.answer()
            assert (status, answered) == (200, body)
            assert b"upgrade" not in head.partition(b"x-names")[2]


async def test_a_websocket_is_a_plain_request_and_the_log_keeps_silent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    headers = ("connection: Upgrade", "upgrade: websocket", "sec-websocket-version: 13")
    async with serving(tmp_path, echo("GET")) as served:
        connection = await served.connect(
            request_bytes("GET", "/x", *headers), request_bytes("GET", "/nope", *headers)
        )
        assert (await connection.answer())[0] == 200
        assert (await connection.answer())[0] == 404
    assert caplog.text == ""


async def test_portal_is_no_proxy(tmp_path: Path) -> None:
    async with serving(tmp_path, echo()) as served:
        connection = await served.connect(
            b"CONNECT localhost:1 HTTP/1.1\r\nhost: localhost\r\n\r\n"
        )
        status, _, body = await connection.answer()
        assert (status, b"no proxy" in body) == (400, True)


async def test_a_head_below_the_limit_is_taken_however_it_is_cut(tmp_path: Path) -> None:
    lines = [f"x-{number}: {'v' * 1000}" for number in range(40)]
    for headers in (lines, [f"x-one: {'v' * 40_000}"]):
        sent = request_bytes("POST", "/x", *headers, body=b"ok")
        async with serving(tmp_path, echo()) as served:
            connection = await served.connect(*split(sent, 8192))
            assert (await connection.answer())[::2] == (200, b"ok")


async def test_a_large_body_and_the_next_head_may_come_together(tmp_path: Path) -> None:
    body = b"b" * 100_000
    async with serving(tmp_path, echo(), max_header_bytes=1024) as served:
        connection = await served.connect(
            request_bytes("POST", "/x", body=body) + b"POST /x HTTP/1.1\r\nhost: loc",
            b"alhost\r\ncontent-length: 2\r\n\r\nok",
        )
        assert (await connection.answer())[::2] == (200, body)
        assert (await connection.answer())[::2] == (200, b"ok")


class Wire(asyncio.Transport):
    """A transport that keeps what is written, so that a test decides how reads are cut."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self._closing = False

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self._closing = True

    abort = close

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        """Nothing."""

    resume_reading = pause_reading


HEAD = b"POST /x HTTP/1.1\r\nhost: localhost\r\n"


@pytest.mark.parametrize("size", [100, 1000])
@pytest.mark.parametrize(
    "before", [HEAD, HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"]
)
@pytest.mark.parametrize(
    ("flood", "within"),
    [(b"x-long: " + b"v" * 5000, 1), (b"n" * 5000, 1), (b"x: y\r\n" * 1000, 0)],
    ids=["value", "name", "lines"],
)
async def test_a_head_or_trailers_over_the_limit_are_refused(
    flood: bytes, within: int, before: bytes, size: int
) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    protocol = guarded_protocol(max_header_bytes=2048, header_seconds=10)
    config = uvicorn.Config(application, http=protocol, ws="none", log_config=None)
    state, wire = ServerState(), Wire()
    reader = protocol(config, state, {})
    reader.connection_made(wire)
    reader.data_received(before)
    await asyncio.sleep(0)  # lets the application begin, where the head was complete
    fed = 0
    for piece in split(flood, size):
        if wire.is_closing():
            break
        reader.data_received(piece)
        fed += len(piece)
    assert wire.written.startswith(b"HTTP/1.1 431 ")
    assert b"headers_too_large" in wire.written
    assert fed <= 2048 + size * (1 + within)
    reader.connection_lost(None)
    for task in state.tasks:
        task.cancel()
    await asyncio.gather(*state.tasks, return_exceptions=True)


async def test_a_trailer_is_no_header(tmp_path: Path) -> None:
    head = request_bytes("POST", "/x", "transfer-encoding: chunked")
    async with serving(tmp_path, echo()) as served:
        connection = await served.connect(head + b"1\r\na\r\n0\r\nx-late: 1\r\n\r\n")
        _, told, _ = await connection.answer()
        assert b"x-late" not in told


@pytest.mark.parametrize("behind", [b"\x00garbage\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"])
async def test_garbage_behind_a_running_answer_ends_the_connection_after_it(
    tmp_path: Path, behind: bytes
) -> None:
    slow = Slow()
    async with serving(tmp_path, slow.function, echo("GET")) as served:
        connection = await served.connect()
        await slow.begin(connection)
        await connection.send(GET, behind, GET)
        slow.go_on.set()
        assert await connection.until(LAST_CHUNK) == b"6\r\nsecond\r\n" + LAST_CHUNK
        assert (await connection.answer())[0] == 200
        assert await connection.rest() == b""


async def test_a_half_head_behind_a_running_answer_is_given_its_time_afterwards(
    tmp_path: Path,
) -> None:
    slow = Slow()
    async with serving(tmp_path, slow.function, header_seconds=0.3) as served:
        connection = await served.connect()
        await slow.begin(connection)
        await connection.send(b"GET /x HT")
        await asyncio.sleep(0.4)  # longer than a head may take
        slow.go_on.set()
        assert await connection.until(LAST_CHUNK) == b"6\r\nsecond\r\n" + LAST_CHUNK
        assert (await connection.answer())[0] == 408
        assert await connection.rest() == b""


@pytest.mark.parametrize(
    "behind",
    [GET, GET * 8, GET + b"GET /x HT", request_bytes("POST", "/x", body=b"x" * 300_000), b"\x00"],
    ids=["one", "eight", "one and a half", "large body", "garbage"],
)
async def test_a_client_that_leaves_is_noticed_behind_queued_requests(
    tmp_path: Path, behind: bytes
) -> None:
    slow = Slow()
    async with serving(tmp_path, slow.function, echo(), echo("GET")) as served:
        connection = await served.connect()
        await slow.begin(connection)
        await connection.send(behind)
        connection.leave()
        async with asyncio.timeout(10):
            await slow.closed.wait()
        await served.idle()


async def test_the_queue_is_answered_in_order_and_what_exceeds_it_is_not(tmp_path: Path) -> None:
    slow = Slow()
    async with serving(tmp_path, slow.function, echo()) as served:
        connection = await served.connect()
        await slow.begin(connection)
        await connection.send(
            *(request_bytes("POST", "/x", body=b"%d" % number) for number in range(20))
        )
        slow.go_on.set()
        await connection.until(LAST_CHUNK)
        for number in range(8):
            assert (await connection.answer())[2] == b"%d" % number
        assert await connection.rest() == b""


async def test_a_queued_body_far_over_its_limit_ends_the_connection(tmp_path: Path) -> None:
    slow = Slow()
    async with serving(tmp_path, slow.function, echo()) as served:
        connection = await served.connect()
        await slow.begin(connection)
        with contextlib.suppress(ConnectionError):
            await connection.send(request_bytes("POST", "/x", body=b"x" * (4 << 20)))
        async with asyncio.timeout(10):
            await slow.closed.wait()


async def test_a_chunk_that_is_none_is_400(tmp_path: Path) -> None:
    head = request_bytes("POST", "/x", "transfer-encoding: chunked")
    async with serving(tmp_path, echo()) as served:
        connection = await served.connect(head + b"2\r\nab\r\n", b"zz\r\n")
        assert (await connection.answer())[0] == 400
        assert await connection.rest() == b""


async def test_after_an_early_answer_the_rest_of_the_body_is_swallowed(tmp_path: Path) -> None:
    body = b"x" * 500_000
    sent = request_bytes("POST", "/nope", body=body)
    async with serving(tmp_path, echo()) as served:
        connection = await served.connect(sent[:-400_000])
        assert (await connection.answer())[0] == 404
        await connection.send(sent[-400_000:], request_bytes("POST", "/x", body=b"ok"))
        assert (await connection.answer())[::2] == (200, b"ok")


async def test_an_endless_body_after_an_early_answer_ends_the_connection(tmp_path: Path) -> None:
    async with serving(tmp_path, echo()) as served:
        connection = await served.connect(
            request_bytes("POST", "/nope", "transfer-encoding: chunked")
        )
        assert (await connection.answer())[0] == 404
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        async with asyncio.timeout(10):
            with pytest.raises(ConnectionError):
                await connection.send(*itertools.repeat(chunk, 10_000))


async def test_late_bytes_of_a_body_do_not_keep_a_connection_open(tmp_path: Path) -> None:
    async with serving(tmp_path, echo(), keep_alive_seconds=0.05) as served:
        connection = await served.connect(
            request_bytes("POST", "/nope", "transfer-encoding: chunked")
        )
        assert (await connection.answer())[0] == 404
        await connection.send(b"1\r\nx\r\n")
        assert await connection.rest() == b""


async def test_garbage_after_an_early_answer_is_not_answered_too(tmp_path: Path) -> None:
    async with serving(tmp_path, echo()) as served:
        connection = await served.connect(
            request_bytes("POST", "/nope", "transfer-encoding: chunked")
        )
        assert (await connection.answer())[0] == 404
        await connection.send(b"zz\r\n")
        assert await connection.rest() == b""


async def test_a_body_that_was_not_asked_for_is_not_waited_for(tmp_path: Path) -> None:
    async with serving(tmp_path, echo()) as served:
        connection = await served.connect(
            request_bytes("POST", "/nope", "expect: 100-continue", "content-length: 5")
        )
        assert (await connection.answer())[0] == 404
        assert await connection.rest() == b""
        connection = await served.connect(
            request_bytes("POST", "/x", "expect: 100-continue", "content-length: 5")
        )
        assert (await connection.answer())[0] == 100
        await connection.send(b"12345")
        assert (await connection.answer())[::2] == (200, b"12345")


async def test_a_client_of_http_1_0_is_told_the_end_by_the_end_of_the_connection(
    tmp_path: Path,
) -> None:
    slow = Slow()
    slow.go_on.set()
    async with serving(tmp_path, slow.function, echo("GET")) as served:
        connection = await served.connect(b"GET /slow HTTP/1.0\r\nhost: localhost\r\n\r\n")
        head, _, body = (await connection.rest()).lower().partition(b"\r\n\r\n")
        assert (b"transfer-encoding" in head, body) == (False, b"firstsecond")
        connection = await served.connect(b"GET /x HTTP/1.0\r\nhost: localhost\r\n\r\n")
        assert b"\r\ncontent-length: 0\r\n" in await connection.rest()


def with_header(name: bytes, value: bytes) -> Function:
    """Make a function whose stream of `longer` has this header."""

    async def items() -> AsyncIterator[bytes]:
        yield b"longer"

    async def handle(request: Any, context: Any) -> Stream:
        return Stream(items(), headers=((name, value),))

    return function("/x", handle)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"x-split", b"a\r\nset-cookie: b"),
        (b"x-nul", b"a\x00"),
        (b"x\r\nset-cookie", b"b"),
    ],
)
async def test_a_header_that_would_not_stay_on_its_line_is_an_error(
    tmp_path: Path, name: bytes, value: bytes
) -> None:
    async with serving(tmp_path, with_header(name, value)) as served:
        connection = await served.connect(GET)
        status, head, _ = await connection.answer()
        assert (status, b"set-cookie" in head) == (500, False)


async def test_a_body_longer_than_its_head_says_is_cut(tmp_path: Path) -> None:
    async with serving(tmp_path, with_header(b"content-length", b"3")) as served:
        connection = await served.connect(GET)
        assert b"longer" not in await connection.rest()


async def test_a_body_that_comes_while_its_client_is_asked_for_more_is_whole(
    tmp_path: Path,
) -> None:
    head = request_bytes("POST", "/x", "transfer-encoding: chunked")
    chunks = [b"%x\r\n%b\r\n" % (size, b"y" * size) for size in (1, 40_000, 7, 70_000, 300_000)]
    async with serving(tmp_path, echo()) as served:
        connection = await served.connect(head, *chunks, b"0\r\n\r\n", GET.replace(b"GET", b"PUT"))
        assert (await connection.answer())[::2] == (200, b"y" * 410_008)
        assert (await connection.answer())[0] == 405
