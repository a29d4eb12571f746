"""What the adapter makes of each kind of result and error, with functions made for it."""

import asyncio
import io
import threading
import types
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest
from litestar.exceptions import ClientException, HTTPException
from litestar.testing import TestClient

from portal.runtime.catalogue import Function, bind
from portal.runtime.context import CallContext
from portal.runtime.hosts import adapter, reply
from portal.runtime.hosts.errors import TABLE, AnswerBroken, answer_for
from portal.runtime.hosts.gate import LOCAL
from portal.runtime.hosts.reply import stream_headers, truth_headers
from portal.shared import errors
from portal.shared.contract import (
    Call,
    Context,
    FileReply,
    RawReply,
    RawRequest,
    Route,
    Scope,
    Stream,
)
from portal.shared.models import Health
from tests.serving_here import application_of, eventually, request_bytes, serving


class Request(msgspec.Struct, frozen=True):
    """Nothing."""


class Needs(Context, Protocol):
    """Nothing."""


def function(
    path: str, handle: Callable[..., Any], request: type = Request, method: Any = "GET"
) -> Function:
    """Bind a handle as a public route."""
    module = types.ModuleType("made.up", f"{method} {path}: made up.")
    handle.__module__ = "made.up"
    handle.__annotations__.update(request=request, context=Needs)
    for name, value in {
        "ROUTE": Route(method, path, Scope.PUBLIC),
        "Needs": Needs,
        "handle": handle,
    }.items():
        setattr(module, name, value)
    return bind("made.up", module, context=CallContext)


def client(folder: Path, *functions: Function, **options: Any) -> TestClient[Any]:
    """Mount functions on a host of default settings."""
    application = application_of(folder, *functions, heartbeat_seconds=0.02)
    return TestClient(application, base_url="http://127.0.0.1", **options)


def test_a_struct_is_json(tmp_path: Path) -> None:
    async def handle(request: Any, context: Any) -> Health:
        return Health("ok", "1", 1.0, True, ())

    with client(tmp_path, function("/x", handle)) as found:
        answer = found.get("/x")
    assert answer.json()["version"] == "1"
    assert answer.headers["content-type"] == "application/json"


def test_none_is_an_empty_204(tmp_path: Path) -> None:
    async def handle(request: Any, context: Any) -> None:
        return None

    with client(tmp_path, function("/x", handle)) as found:
        answer = found.get("/x")
    assert (answer.status_code, answer.content) == (204, b"")


def test_a_plain_def_runs_in_a_worker_thread(tmp_path: Path) -> None:
    seen: list[str] = []

    def handle(request: Any, context: Any) -> None:
        seen.append(threading.current_thread().name)
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()

    with client(tmp_path, function("/x", handle)) as found:
        assert found.get("/x").status_code == 204
    assert seen
    assert seen[0] != threading.main_thread().name


def test_a_file_is_sent_whole_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(range(256)) * 4096)

    async def handle(request: Any, context: Any) -> FileReply:
        return FileReply(path, "application/x-thing", download="résumé.bin")

    with client(tmp_path, function("/x", handle)) as found:
        answer = found.get("/x")
        head = found.head("/x")
    assert answer.content == path.read_bytes()
    assert answer.headers["content-type"] == "application/x-thing"
    assert "r%C3%A9sum%C3%A9.bin" in answer.headers["content-disposition"]
    assert int(head.headers["content-length"]) == path.stat().st_size
    assert head.content == b""


def test_a_head_does_not_read_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unreadable(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError("this was to be left alone")

    async def handle(request: Any, context: Any) -> FileReply:
        return FileReply(tmp_path / "any", "text/plain")

    monkeypatch.setattr(reply, "_open_now", lambda path: (Unreadable(), 7))
    with client(tmp_path, function("/x", handle)) as found:
        answer = found.head("/x")
    assert (answer.status_code, answer.headers["content-length"]) == (200, "7")


async def test_a_file_whose_opening_is_cancelled_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on, file = threading.Event(), threading.Event(), io.BytesIO()

    def open_now(path: Path) -> tuple[io.BytesIO, int]:
        entered.set()
        go_on.wait(10)
        return file, 0

    monkeypatch.setattr(reply, "_open_now", open_now)
    opening = asyncio.create_task(reply._open(tmp_path))
    await asyncio.to_thread(entered.wait, 10)
    opening.cancel()
    await asyncio.wait((opening,))
    assert not file.closed
    go_on.set()
    await eventually(lambda: file.closed)


def test_a_file_that_is_gone_is_404(tmp_path: Path) -> None:
    async def handle(request: Any, context: Any) -> FileReply:
        return FileReply(tmp_path / "gone", "text/plain")

    with client(tmp_path, function("/x", handle)) as found:
        answer = found.get("/x")
    assert answer.status_code == 404
    assert str(tmp_path) not in answer.text


def test_a_raw_request_has_the_segments_the_query_and_the_headers(tmp_path: Path) -> None:
    async def handle(request: Any, context: Any) -> RawReply:
        told = [request.params["a"], request.params["rest"], request.query, request.headers["x-y"]]
        return RawReply(200, (), msgspec.json.encode(told))

    made = function("/x/{a}/{rest:path}", handle, RawRequest)
    with client(tmp_path, made) as found:
        answer = found.get("/x/one/two/three?q=1&q=2&e=&u=%C3%A9", headers={"X-Y": "z"})
    assert answer.json() == ["one", "two/three", {"q": "2", "e": "", "u": "é"}, "z"]


def streamed(*items: bytes | Exception, **more: Any) -> Function:
    """Make a function that streams these items, raising the exceptions among them."""

    async def produce() -> AsyncIterator[bytes]:
        for item in items:
            if isinstance(item, Exception):
                raise item
            yield item

    async def handle(request: Any, context: Any) -> Stream:
        return Stream(produce(), **more)

    return function("/x", handle)


def test_an_error_before_the_first_item_is_a_normal_error(tmp_path: Path) -> None:
    with client(tmp_path, streamed(errors.NoBackend("nobody is there"))) as found:
        answer = found.get("/x")
    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == "nobody is there"


def test_an_error_after_the_first_item_ends_an_sse_stream_as_an_event(tmp_path: Path) -> None:
    made = streamed(b"data: 1\n\n", errors.BackendBroken("cut"))
    with client(tmp_path, made) as found:
        answer = found.get("/x")
    assert answer.status_code == 200
    last = answer.text.strip().rpartition("data: ")[2]
    assert msgspec.json.decode(last)["error"]["code"] == "backend_broken"


def test_a_stream_may_say_itself_how_an_error_looks(tmp_path: Path) -> None:
    made = streamed(
        b"1\n",
        errors.BackendBroken("cut"),
        media_type="application/x-ndjson",
        on_error=lambda error: f"!{error}\n".encode(),
    )
    with client(tmp_path, made) as found:
        assert found.get("/x").text == "1\n!cut\n"


def test_an_empty_stream_is_an_empty_answer(tmp_path: Path) -> None:
    with client(tmp_path, streamed()) as found:
        answer = found.get("/x")
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_streams_own_status_and_headers_are_sent(tmp_path: Path) -> None:
    made = streamed(b"x", status=206, headers=((b"x-mine", b"1"),), media_type="text/plain")
    with client(tmp_path, made) as found:
        answer = found.get("/x")
    assert (answer.status_code, answer.headers["x-mine"]) == (206, "1")


def test_an_unforeseen_error_tells_nothing_of_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def handle(request: Any, context: Any) -> None:
        raise ValueError("the password is swordfish")

    with client(tmp_path, function("/x", handle)) as found:
        answer = found.get("/x")
    assert answer.status_code == 500
    assert "swordfish" not in answer.text
    assert "swordfish" in caplog.text
    assert answer.headers["x-request-id"] in caplog.text


def every_error() -> list[type[errors.PortalError]]:
    """Find every class of the tree."""
    found = [errors.PortalError]
    for kind in found:
        found.extend(kind.__subclasses__())
    return [kind for kind in found if kind.__module__ == errors.__name__]


def test_every_error_has_a_status_a_type_and_a_code_of_its_own() -> None:
    kinds = every_error()
    assert len({kind.code for kind in kinds}) == len(kinds)
    assert set(TABLE) <= set(kinds)
    for kind in kinds:
        answer = answer_for(kind.__new__(kind)) if kind is not errors.BackendRefused else None
        assert answer is None or 400 <= answer.status < 600


@pytest.mark.parametrize("media_type", ["text/plain", "application/octet-stream"])
@pytest.mark.parametrize("error", [errors.BackendBroken("cut off"), ValueError("cut off")])
async def test_a_stream_that_breaks_without_words_for_it_is_cut(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, media_type: str, error: Exception
) -> None:
    made = streamed(b"first", error, media_type=media_type)
    async with serving(tmp_path, made) as served:
        connection = await served.connect(request_bytes("GET", "/x"))
        assert (await connection.rest()).endswith(b"5\r\nfirst\r\n")
    assert "cut off" in caplog.text
    assert "ASGI" not in caplog.text


def test_without_a_way_to_cut_the_server_is_told_by_an_exception(tmp_path: Path) -> None:
    made = streamed(b"first", errors.BackendBroken("cut off"), media_type="text/plain")
    with client(tmp_path, made) as found, pytest.raises(AnswerBroken, match="cut off"):
        found.get("/x")


async def test_a_file_that_shrinks_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def handle(request: Any, context: Any) -> FileReply:
        return FileReply(tmp_path / "any", "text/plain")

    monkeypatch.setattr(reply, "_open_now", lambda path: (io.BytesIO(b"short"), 100))
    async with serving(tmp_path, function("/x", handle)) as served:
        connection = await served.connect(request_bytes("GET", "/x"))
        assert (await connection.rest()).endswith(b"\r\n\r\nshort")
    assert "became shorter" in caplog.text
    assert "ASGI" not in caplog.text


async def test_the_end_of_an_answer_does_not_cancel_what_follows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "WATCH_AFTER", 0.0)
    closed: list[str] = []

    async def produce() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.sleep(0.02)  # until the watch has begun
        finally:
            try:
                await asyncio.sleep(0.02)  # closing takes a while
                closed.append("in order")
            except asyncio.CancelledError:
                closed.append("cancelled")

    class Closing:
        """Items that take their time to close after the last one."""

        def __init__(self) -> None:
            self._items = produce()

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self

        async def __anext__(self) -> bytes:
            if closed:
                raise StopAsyncIteration
            closed.append("begun")
            return await anext(self._items)

        async def aclose(self) -> None:
            await self._items.aclose()  # type: ignore[attr-defined]

    async def handle(request: Any, context: Any) -> Stream:
        await asyncio.sleep(0.02)  # until the watch has begun
        return Stream(Closing())

    async with serving(tmp_path, function("/x", handle)) as served:
        connection = await served.connect(request_bytes("GET", "/x"))
        await connection.until(b"0\r\n\r\n")
        await served.idle()
    assert closed == ["begun", "in order"]


async def test_a_body_that_comes_slowly_has_one_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "WATCH_AFTER", 0.0)

    async def handle(request: Any, context: Any) -> RawReply:
        return RawReply(200, (), request.body)

    made = function("/x", handle, RawRequest, "POST")
    async with serving(tmp_path, made) as served:
        connection = await served.connect(request_bytes("POST", "/x", "content-length: 6"))
        for piece in (b"ab", b"cd", b"ef"):
            await asyncio.sleep(0.02)  # a watcher would take the piece
            await connection.send(piece)
        assert (await connection.answer())[2] == b"abcdef"


async def test_a_body_that_drips_is_408(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def handle(request: Any, context: Any) -> None:
        raise AssertionError("the body never came")

    made = function("/x", handle, RawRequest, "POST")
    async with serving(tmp_path, made, body_seconds=0.2) as served:
        connection = await served.connect(request_bytes("POST", "/x", "content-length: 100000"))
        answer = asyncio.create_task(connection.answer())
        while not answer.done():
            await connection.send(b"x")
            await asyncio.wait((answer,), timeout=0.01)
        assert (await answer)[0] == 408


def test_options_names_the_methods_and_the_request(tmp_path: Path) -> None:
    async def handle(request: Any, context: Any) -> None:
        return None

    made = [function("/x", handle), function("/x", handle, method="POST")]
    with client(tmp_path, *made) as found:
        answer = found.options("/x")
        foreign = found.options("/x", headers={"origin": "https://evil.example"})
        lost = found.options("/y")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert answer.headers["x-request-id"]
    assert (foreign.status_code, lost.status_code) == (403, 404)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ClientException("odd"), 400, "invalid_request_error"),
        (HTTPException("odd", status_code=414), 414, "invalid_request_error"),
        (HTTPException("the password is swordfish", status_code=503), 500, "server_error"),
        (ValueError("the password is swordfish"), 500, "server_error"),
    ],
)
def test_an_error_around_the_functions_has_our_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, kind: str
) -> None:
    def fail(*_: Any) -> None:
        raise error

    async def handle(request: Any, context: Any) -> None:
        return None

    monkeypatch.setattr(adapter.Exchange, "__init__", fail)
    made = function("/x/{a}", handle, RawRequest)
    with client(tmp_path, made, raise_server_exceptions=False) as found:
        answer = found.get("/x/1")
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == kind
    assert "swordfish" not in answer.text
    assert answer.headers["x-request-id"]


def test_what_a_stream_says_of_caching_wins() -> None:
    async def produce() -> AsyncIterator[bytes]:
        yield b""

    said = ((b"cache-control", b"no-store"), (b"x-accel-buffering", b"yes"))
    call = Call("id", LOCAL, "f", 0.0)
    headers = stream_headers(Stream(produce(), headers=said), call)
    names = [name for name, _ in headers]
    assert len(set(names)) == len(names)
    assert set(said) <= set(headers)
    assert (b"cache-control", b"no-cache") in stream_headers(Stream(produce()), call)


def test_a_wait_that_goes_on_is_not_portals_own_time() -> None:
    call = Call("id", LOCAL, "f", 100.0, waited=1.0, waiting_since=101.5)
    assert (b"x-portal-overhead-ms", b"500.00") in truth_headers(call)


@pytest.mark.parametrize(
    ("sent", "seen"), [(400, 400), (404, 404), (413, 413), (422, 422), (429, 429), (500, 502)]
)
def test_a_backends_own_refusal_keeps_the_status_that_speaks_to_the_client(
    sent: int, seen: int
) -> None:
    assert answer_for(errors.BackendRefused("no", status=sent)).status == seen


@pytest.mark.parametrize(
    ("seconds", "sent"),
    [(1.2, "2"), (0, "1"), (float("-inf"), "1"), (float("inf"), "86400"), (float("nan"), "86400")],
)
def test_retry_after_is_sent_in_whole_seconds(tmp_path: Path, seconds: float, sent: str) -> None:
    async def handle(request: Any, context: Any) -> None:
        raise errors.RateLimited("slow down", retry_after=seconds)

    with client(tmp_path, function("/x", handle)) as found:
        answer = found.get("/x")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, sent)
