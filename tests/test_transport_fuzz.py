"""Whatever bytes come, however sliced: the right answer or one of httpx's errors, and no harm."""

import asyncio
import contextlib
import itertools
import math
from typing import Any, NamedTuple

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from portal.runtime.backends.connection import Connection
from portal.runtime.backends.limits import Limits
from tests.fakes.wire import Wire, rig

UNLIMITED = Limits(math.inf, math.inf, math.inf, math.inf, math.inf)
TRIES = settings(max_examples=150, deadline=None)
MANY_TRIES = settings(max_examples=400, deadline=None)
FINE = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine"


class Answer(NamedTuple):
    """Bytes of a valid answer, and what a client must make of them."""

    raw: bytes
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    ends_with_connection: bool


NAMES = st.text("abcdefgXYZ-", min_size=1, max_size=8).map(lambda name: f"x-{name}".encode())
VALUES = st.text("ab c;=/\u00e9", max_size=12).map(lambda value: value.strip().encode("latin-1"))
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=4)
INTERIM = st.sampled_from(
    [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 E\r\nlink: a\r\n\r\n"]
)


def lines(headers: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%b: %b\r\n" % header for header in headers)


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    """Make a valid answer of any framing."""
    framing = draw(st.sampled_from(["length", "chunked", "close", "none"]))
    status = draw(st.sampled_from([204, 304] if framing == "none" else [200, 404, 500]))
    headers = draw(HEADERS)
    pieces = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=5))
    tail = body = b"".join(pieces)
    if framing == "length":
        headers = [*headers, (b"Content-Length", b"%d" % len(body))]
    elif framing == "chunked":
        headers = [(b"Transfer-Encoding", b"chunked"), *headers]
        extension = draw(st.sampled_from([b"", b";a", b';a="b"']))
        tail = b"".join(b"%x%b\r\n%b\r\n" % (len(one), extension, one) for one in pieces)
        tail += b"0\r\n" + lines(draw(HEADERS)) + b"\r\n"
    elif framing == "none":
        tail = body = b""
    raw = draw(INTERIM) + b"HTTP/1.1 %d Reason\r\n%b\r\n%b" % (status, lines(headers), tail)
    lowered = [(name.lower(), value) for name, value in headers]
    return Answer(raw, status, lowered, body, framing == "close")


def sliced(raw: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
    return [raw[start:end] for start, end in itertools.pairwise(edges)]


class Memory(asyncio.Transport):
    """A transport without a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is buffered."""

    def write(self, data: Any) -> None:
        """Nobody reads it."""

    def abort(self) -> None:
        self.aborted = True


class Slots:
    """An owner that remembers what it was given back."""

    def __init__(self) -> None:
        self.released: list[Connection | None] = []

    def release(self, connection: Connection | None) -> None:
        self.released.append(connection)

    def forget(self, connection: Connection) -> None:
        """Nothing is kept."""


async def fed(pieces: list[bytes], *, end: bool) -> tuple[Any, ...]:
    """Feed one answer to a connection; return all that can be seen of it."""
    slots, socket = Slots(), Memory()
    connection = Connection(slots, asyncio.get_running_loop())
    connection.connection_made(socket)
    exchange = connection.begin(UNLIMITED, 0.0, head_only=False)
    for piece in pieces:
        connection.data_received(piece)
        if connection.closed or slots.released:
            break
    if end and not slots.released:
        connection.eof_received()
    connection.abort()
    assert len(slots.released) == 1
    assert socket.aborted
    try:
        body = await exchange.read(1 << 20)
    except httpx.HTTPError as error:
        return (exchange.status, str(error))
    return (exchange.status, exchange.headers, body, slots.released[0] is not None)


@MANY_TRIES
@given(answers(), st.lists(st.integers(0, 10_000), max_size=12))
async def test_a_valid_answer_is_the_same_however_it_is_sliced(
    answer: Answer, cuts: list[int]
) -> None:
    seen = await fed(sliced(answer.raw, cuts), end=answer.ends_with_connection)
    assert seen == (answer.status, answer.headers, answer.body, not answer.ends_with_connection)


@TRIES
@given(answers())
async def test_a_valid_answer_byte_by_byte_is_the_same(answer: Answer) -> None:
    pieces = [answer.raw[at : at + 1] for at in range(len(answer.raw))]
    seen = await fed(pieces, end=answer.ends_with_connection)
    assert seen == (answer.status, answer.headers, answer.body, not answer.ends_with_connection)


@MANY_TRIES
@given(answers(), st.integers(0, 10_000), st.lists(st.integers(0, 10_000), max_size=3))
async def test_a_truncated_answer_is_never_taken_for_a_whole_one(
    answer: Answer, end: int, cuts: list[int]
) -> None:
    raw = answer.raw[: end % len(answer.raw)]
    seen = await fed(sliced(raw, cuts), end=True)
    if answer.ends_with_connection and raw.partition(b"Reason\r\n")[2].find(b"\r\n\r\n") >= 0:
        assert answer.body.startswith(seen[2])
    elif len(seen) != 2:
        # Only a head without headers of its own can look whole: then all it had was taken.
        assert answer.ends_with_connection
        assert answer.body.startswith(seen[2])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Damage a valid answer in a few places."""
    raw = bytearray(draw(answers()).raw)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)))
        piece = draw(
            st.binary(max_size=4)
            | st.sampled_from([b"\r\n", b"\n", b"\0", b"-", b"0\r\n\r\n", b"ffffffff", b": ", FINE])
        )
        raw[at : at + draw(st.integers(0, 6))] = piece
    return bytes(raw)


DAMAGED = mutated() | st.binary(max_size=200)


@MANY_TRIES
@given(DAMAGED, st.lists(st.integers(0, 10_000), max_size=6))
async def test_damaged_answers_in_slices_are_read_or_refused(raw: bytes, cuts: list[int]) -> None:
    seen = await fed(sliced(raw, cuts), end=True)
    if len(seen) == 2:
        assert seen[1], "an error without a message"
    else:
        assert 200 <= seen[0] <= 999


@TRIES
@given(DAMAGED, st.sampled_from(["close", "reset", "hold"]))
async def test_damaged_answers_neither_hang_nor_poison_the_pool(raw: bytes, end: str) -> None:
    async def script(wire: Wire) -> None:
        while request := await wire.request():
            if not request.line.startswith(b"GET /damaged"):
                await wire.send(FINE)
                continue
            await wire.send(raw)
            if end == "reset":
                wire.reset()
            if end != "hold":
                return

    async with rig(script, max_connections=1) as r:
        await r.read()
        with contextlib.suppress(httpx.RemoteProtocolError, httpx.ReadError, httpx.ReadTimeout):
            await r.read(path="/damaged", limits=Limits(stall=0.02, first_byte=0.02))
        assert r.transport.active == 0
        assert await r.read(path="/next") == (200, b"fine")
