"""What relayed bytes are taken for: an answer, a failure, or nobody's fault."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from portal.runtime.routing.relayed import RelayedStream, Verdict, judge, judge_stream
from portal.shared.errors import BackendBroken, BackendError, BackendTimeout

TOKEN = b'data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\n'
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


class Bytes:
    """A reply of these pieces; it then goes on for ever, or ends."""

    status = 200
    headers: list[tuple[bytes, bytes]] = []  # noqa: RUF012  never changed

    def __init__(self, *pieces: bytes, silent: bool = False, broken_close: bool = False) -> None:
        self._pieces = pieces
        self._silent = silent
        self._broken_close = broken_close

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        if self._silent:
            await asyncio.Event().wait()

    async def read(self, limit: int) -> bytes:
        return b"".join(self._pieces)[:limit]

    async def aclose(self) -> None:
        if self._broken_close:
            raise asyncio.CancelledError


class Told:
    """Remembers how a stream ended."""

    def __init__(self) -> None:
        self.ends: list[tuple[Verdict | None, BackendError | None]] = []

    def __call__(self, verdict: Verdict | None, error: BackendError | None) -> None:
        self.ends.append((verdict, error))


def relayed(reply: Bytes, told: Told, *, token: float = 30.0, first: float = 30.0) -> RelayedStream:
    return RelayedStream(reply, told, token_seconds=token, first_seconds=first)


async def test_a_client_that_leaves_says_nothing_about_the_model() -> None:
    told = Told()
    stream = relayed(Bytes(TOKEN, END), told)
    await anext(stream)
    await stream.aclose()
    await stream.aclose()
    [(verdict, error)] = told.ends
    assert verdict is not None
    assert (verdict.whole, verdict.fault, error) == (False, "", None)


async def test_an_answer_that_is_read_to_its_end_is_judged() -> None:
    told = Told()
    stream = relayed(Bytes(TOKEN, END), told)
    async for _ in stream:
        pass
    await stream.aclose()
    [(verdict, _)] = told.ends
    assert verdict is not None
    assert (verdict.whole, verdict.fault) == (True, "")


async def test_a_stream_without_a_single_event_is_a_failure() -> None:
    told = Told()
    stream = relayed(Bytes(), told)
    with pytest.raises(BackendBroken):
        await anext(stream)
    await stream.aclose()
    assert isinstance(told.ends[0][1], BackendBroken)


async def test_a_close_that_is_interrupted_gives_the_place_back_all_the_same() -> None:
    told = Told()
    stream = relayed(Bytes(TOKEN, broken_close=True), told)
    await anext(stream)
    with pytest.raises(asyncio.CancelledError):
        await stream.aclose()
    assert len(told.ends) == 1


@pytest.mark.parametrize(
    ("pieces", "limits", "named"),
    [
        ((TOKEN,), {"token": 0.02}, "routing.token_seconds"),
        ((b": ping\n\n",), {"token": 0.02, "first": 0.05}, "routing.first_token_seconds"),
    ],
)
async def test_silence_past_its_limit_is_a_timeout_that_names_the_limit(
    pieces: tuple[bytes, ...], limits: dict[str, float], named: str
) -> None:
    told = Told()
    stream = relayed(Bytes(*pieces, silent=True), told, **limits)
    with pytest.raises(BackendTimeout, match=named):
        async for _ in stream:
            pass
    await stream.aclose()
    assert isinstance(told.ends[0][1], BackendTimeout)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.parametrize(
    "answer",
    [
        b'\n\n {"choices":[{"finish_reason":"stop","message":{"content":"hi"}}]}',
        b'{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":null}}',
        b'{"choices":null,"output":"of another shape"}',
    ],
)
def test_an_answer_in_an_odd_shape_is_not_held_against_its_model(answer: bytes) -> None:
    assert judge(answer).fault == ""


def test_what_is_no_answer_at_all_is_and_counts_no_tokens() -> None:
    verdict = judge(b"<html>busy</html>")
    assert verdict.fault == "it is not the JSON of an answer"
    assert (verdict.usage.input_tokens, verdict.usage.output_tokens) == (0, 0)


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (b'{"error":{"message":"CUDA","code":500}}', "it ended with an error"),
        (b'{"error":"out of memory"}', "it ended with an error"),
        (b'{"error":{"message":"too long","code":400}}', ""),
    ],
)
def test_an_error_within_a_stream_counts_unless_it_speaks_of_the_request(
    error: bytes, fault: str
) -> None:
    tail = TOKEN + b"data: " + error + b"\n\ndata: [DONE]\n\n"
    assert judge_stream(tail, 3).fault == fault
    assert bool(judge(error).fault) == bool(fault)
