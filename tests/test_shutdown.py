"""How a stop ends what still runs: in order, in bounded time, and without a traceback."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar

from portal.runtime.catalogue import Function
from portal.runtime.hosts import adapter
from portal.runtime.hosts.litestar_host import Lifespan, build_application
from portal.runtime.ops import schema
from portal.runtime.server import HANG_UP, Server, bind, url_of
from portal.shared.contract import Stream
from portal.shared.errors import ConfigurationError
from tests.conftest import StartPortal
from tests.harness import TRACEBACK, Fake
from tests.serving_here import Connection, application_of, eventually, request_bytes, serving
from tests.test_host import function

ASK = b'{"model": "auto", "messages": [{"role": "user", "content": "hi"}], "stream": true}'


def hanging() -> Function:
    """Make a function at GET /hang that never answers."""

    async def handle(request: Any, context: Any) -> None:
        await asyncio.Event().wait()

    return function("/hang", handle)


def flooding(media_type: str = "text/event-stream") -> Function:
    """Make a function at GET /flood that streams more than any buffer holds."""

    async def items() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    async def handle(request: Any, context: Any) -> Stream:
        return Stream(items(), media_type=media_type)

    return function("/flood", handle)


class Parts:
    """A lifespan that tells what became of it; `end` may be an endless wait."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.told: list[str] = []
        self._hangs = hangs

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Litestar) -> AsyncIterator[None]:
        """Run from start to end."""
        self.told.append("started")
        try:
            yield
        finally:
            try:
                if self._hangs:
                    await asyncio.Event().wait()
                self.told.append("ended")
            except asyncio.CancelledError:
                self.told.append("cancelled")
                raise


@contextlib.asynccontextmanager
async def running(
    folder: Path, lifespan: Lifespan, *functions: Function, seconds: float = 30.0
) -> AsyncIterator[tuple[Server, "asyncio.Task[None]", Connection]]:
    """Run the whole server, and give a connection to it."""
    host = application_of(folder, *functions).host
    settings = schema.Settings(
        data_dir=folder, state_dir=folder, server=schema.Server(shutdown_seconds=seconds)
    )
    ready = asyncio.Event()
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = Server(settings, build_application(host, functions, [lifespan]), ready.set)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    async with asyncio.timeout(20):
        await ready.wait()
        connection = Connection(*await asyncio.open_connection("127.0.0.1", port))
        try:
            yield server, serving, connection
            await serving
        finally:
            connection.leave()
            with contextlib.suppress(ConnectionError):
                await connection.writer.wait_closed()


async def test_a_second_signal_cuts_at_once_and_still_closes_the_parts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = Parts()
    async with running(tmp_path, parts.lifespan, hanging()) as (server, serving, connection):
        await connection.send(request_bytes("GET", "/hang"))
        await eventually(lambda: bool(server._application.host.calls))
        server.handle_exit(signal.SIGINT, None)
        server.handle_exit(signal.SIGINT, None)
        status, _, body = await connection.answer()
        assert (status, b"shutting_down" in body) == (503, True)
        async with asyncio.timeout(10):
            await serving
    assert parts.told == ["started", "ended"]
    assert TRACEBACK not in caplog.text


async def test_a_closed_terminal_is_no_impatience(tmp_path: Path) -> None:
    if HANG_UP is None:
        pytest.skip("this system has no SIGHUP")
    async with running(tmp_path, Parts().lifespan) as (server, _, _):
        server.handle_exit(HANG_UP, None)
        server.handle_exit(HANG_UP, None)
        assert (server.should_exit, server.force_exit) == (True, False)


@pytest.mark.parametrize(("before", "after"), [(signal.SIG_IGN, False), (signal.SIG_DFL, True)])
async def test_what_nohup_ignores_stays_ignored(tmp_path: Path, before: Any, after: bool) -> None:
    if HANG_UP is None:
        pytest.skip("this system has no SIGHUP")
    original = signal.signal(HANG_UP, before)
    try:
        async with running(tmp_path, Parts().lifespan) as (server, _, _):
            handled = signal.getsignal(HANG_UP) == server.handle_exit
            assert (handled, signal.getsignal(signal.SIGTERM)) == (after, server.handle_exit)
            server.stop()
        assert signal.getsignal(HANG_UP) == before
    finally:
        signal.signal(HANG_UP, original)


async def test_parts_that_do_not_end_are_not_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = Parts(hangs=True)
    others = asyncio.all_tasks()
    async with running(tmp_path, parts.lifespan, seconds=0.2) as (server, serving, _):
        server.stop()
        await serving
    assert parts.told == ["started"]
    left = asyncio.all_tasks() - others
    for task in left:
        task.cancel()  # as the end of the loop does
    await asyncio.wait(left)
    assert parts.told == ["started", "cancelled"]
    assert "did not end in order" in caplog.text
    assert TRACEBACK not in caplog.text


@pytest.mark.parametrize("media_type", ["text/event-stream", "text/plain"])
async def test_a_client_that_does_not_read_does_not_hold_up_the_stop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, media_type: str
) -> None:
    parts = Parts()
    made = flooding(media_type)
    async with running(tmp_path, parts.lifespan, made, seconds=0.4) as (server, serving, waiting):
        await waiting.send(request_bytes("GET", "/flood"))
        await eventually(lambda: bool(server._application.host.calls))
        server.stop()
        async with asyncio.timeout(10):
            await serving
        assert not server.server_state.tasks
    assert parts.told == ["started", "ended"]
    assert TRACEBACK not in caplog.text
    assert "ASGI" not in caplog.text


async def test_a_call_that_is_cut_may_not_take_long_to_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(adapter, "LAST_WORDS", 0.01)
    async with serving(tmp_path, flooding()) as served:
        await served.connect(request_bytes("GET", "/flood"))
        await eventually(lambda: bool(served.host.calls))
        served.host.cut_calls()
        await served.idle()
    assert TRACEBACK not in caplog.text
    assert "ASGI" not in caplog.text


async def test_a_call_that_is_cut_twice_ends_quietly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path, flooding()) as served:
        await served.connect(request_bytes("GET", "/flood"))
        await eventually(lambda: bool(served.host.calls))
        served.host.cut_calls()
        await asyncio.sleep(0)  # it says its last words, which nobody reads
        served.host.cut_calls()
        await served.idle()
    assert TRACEBACK not in caplog.text
    assert "ASGI" not in caplog.text


@pytest.mark.parametrize("numbers", [("SIGINT", "SIGINT"), ("SIGTERM", "SIGTERM"), ("SIGHUP",)])
def test_signals_end_portal_in_order_although_an_answer_runs(
    start_portal: StartPortal, openai_server: Fake, numbers: tuple[str, ...]
) -> None:
    if not all(hasattr(signal, number) for number in numbers):
        pytest.skip("this system lacks a signal")
    openai_server.script(tokens=[" one"] * 50, manual=True)
    portal = start_portal(
        backends=[openai_server.backend("vllm")],
        server={"shutdown_seconds": 2.0 if len(numbers) == 1 else 60.0},
    )
    openai_server.step(1)
    with socket.create_connection(("127.0.0.1", portal.port), timeout=20) as connection:
        connection.sendall(request_bytes("POST", "/v1/chat/completions", body=ASK))
        found = b""
        while b" one" not in found:
            found += connection.recv(65536)
        for number in numbers:
            os.kill(portal.pid, getattr(signal, number))
            # Two that come before the first is seen would be one.
            portal.await_log("a second signal cuts them")
        while data := connection.recv(65536):
            found += data
    assert b"shutting_down" in found
    assert found.endswith(b"0\r\n\r\n")
    assert portal.wait() == 0
    assert not (portal.state_dir / "run.json").exists()
    openai_server.wait("closed", path="/v1/chat/completions")
    assert TRACEBACK not in portal.logs()


def test_localhost_is_bound_where_clients_of_ipv4_find_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with bind("localhost", 0) as listener:
        assert url_of(listener).startswith("http://127.0.0.1:")


@pytest.mark.parametrize("host", ["nowhere.invalid", "x" * 70 + ".invalid", "a..b"])
def test_a_host_that_is_no_address_is_told(host: str) -> None:
    with pytest.raises(ConfigurationError, match="no address"):
        bind(host, 0)
