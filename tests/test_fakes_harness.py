"""The chaos proxy harms exactly what it is told to, and the harness runs and ends programs."""

import asyncio
import json
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.asking import CHAT, ask, connect, post, read_all
from tests.fakes.chaos_proxy import Passage, Way, pump
from tests.fakes.fake import ROOT
from tests.fakes.running import clean_environment
from tests.harness import (
    Fake,
    PortalProcess,
    StartError,
    end_and_inspect,
    free_port,
    run_cli,
    to_toml,
)

StartChaos = Callable[[Fake], Fake]


def test_chaos_passes_by_default_and_counts(openai_server: Fake, start_chaos: StartChaos) -> None:
    chaos = start_chaos(openai_server)
    assert "Echo" in post(chaos, CHAT, ask()).text
    chaos.wait("closed")
    (passage,) = chaos.connections()
    assert passage["up"] > 100
    assert passage["down"] > 100
    assert chaos.backend() == {"name": "openai", "kind": "openai", "url": chaos.url}


def test_chaos_cuts_stalls_and_corrupts_at_the_byte(
    openai_server: Fake, start_chaos: StartChaos
) -> None:
    chaos = start_chaos(openai_server)
    openai_server.script(status=200, body="x" * 100, drop=True)
    with connect(openai_server, CHAT, ask()) as sock:
        whole = read_all(sock)

    chaos.script(down={"cut_after": 40}, times=1)
    with connect(chaos, CHAT, ask()) as sock:
        assert read_all(sock) == whole[:40]
    chaos.script(down={"stall_after": 40}, times=1)
    with connect(chaos, CHAT, ask()) as sock:
        assert sock.recv(65536) == whole[:40]
    chaos.script(down={"slice": 7, "delay_ms": 1}, times=1)
    with connect(chaos, CHAT, ask()) as sock:
        assert read_all(sock) == whole
    chaos.script(down={"corrupt_at": 9}, times=1)
    with connect(chaos, CHAT, ask()) as sock:
        assert read_all(sock) == whole[:9] + bytes([whole[9] ^ 0xFF]) + whole[10:]
    chaos.script(up={"cut_after": 10}, reset=True, times=1)
    with connect(chaos, CHAT, ask()) as sock, pytest.raises(ConnectionError):
        read_all(sock)
    chaos.wait("closed", 5)
    states = [row["state"] for row in chaos.connections()]
    assert (states[0], states[2], states[-1]) == ("cut", "closed", "cut")


class Written:
    """The sending half of a connection, kept in memory."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    async def drain(self) -> None:
        return


@pytest.mark.parametrize(
    ("way", "pieces"),
    [
        (Way(), [b"abcdefgh"]),
        (Way(slice=3), [b"abc", b"def", b"gh"]),
        (Way(slice=3, cut_after=4), [b"abc", b"d"]),
        (Way(stall_after=5), [b"abcde"]),
        (Way(corrupt_at=0, stall_after=2), [bytes([0x9E]) + b"b"]),
        (Way(cut_after=0), []),
    ],
)
async def test_chaos_passes_on_exactly_these_pieces(way: Way, pieces: list[bytes]) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(b"abcdefgh")
    reader.feed_eof()
    written: Any = Written()
    passage = Passage(1)
    await pump(reader, written, way, passage, "down")
    assert written.pieces == pieces
    assert passage.down == sum(map(len, pieces))
    assert (passage.state == "cut") == (way.cut_after is not None)


def test_chaos_refuses_and_drops_and_recovers(openai_server: Fake, start_chaos: StartChaos) -> None:
    chaos = start_chaos(openai_server)
    chaos.script(refuse=True)
    with pytest.raises(httpx.ConnectError):
        post(chaos, CHAT, ask())
    chaos.script(drop=True)
    with pytest.raises(httpx.TransportError):
        post(chaos, CHAT, ask())
    assert openai_server.requests(CHAT) == []
    chaos.reset()
    assert post(chaos, CHAT, ask()).status_code == 200


def test_ports_are_below_the_ephemeral_range_and_not_given_twice() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    assert all(20_000 <= port < 32_000 for port in ports)


def test_settings_survive_toml() -> None:
    settings = {
        "router_token": 'with "quotes" and \\ and ü',
        "server": {"host": "127.0.0.1", "port": 1, "probe": False, "allowed_hosts": ["a", "b"]},
        "backends": [{"name": "x", "max_connections": 2, "connect_seconds": 0.5}],
        "workspaces": {"auto-x": {"model": "x/y", "fallback": []}, "a.b": {}},
    }
    assert tomllib.loads(to_toml(settings)) == settings


def test_the_environment_is_clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PORTAL_SERVER__PORT", "OLLAMA_HOST", "ROUTER_TOKEN", "HTTP_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "x")
    environment = clean_environment(tmp_path)
    assert "x" not in environment.values()
    assert environment["HOME"] == str(tmp_path)


def stand_in(*options: str) -> dict[str, Any]:
    """Have a fake play Portal, so that the harness is tested for itself."""
    words = (sys.executable, "-m", "tests.fakes.openai_compatible", "--port", "{port}", *options)
    return {"command": words, "env": {"PYTHONPATH": str(ROOT)}}


def test_portal_is_awaited_stopped_and_started_again(ollama: Fake) -> None:
    ready = json.dumps([{"path": "/health/ready", "status": 200}])
    with PortalProcess(**stand_in("--script", ready), backends=[ollama]) as portal:
        assert portal.client.get("/v1/models").status_code == 200
        written = tomllib.loads(portal.config.read_text("utf-8"))
        assert written["backends"] == [{"name": "ollama", "kind": "ollama", "url": ollama.url}]
        assert written["server"] == {"host": "127.0.0.1", "port": portal.port, "probe": False}
        assert written["embedded"] == {"enabled": False}
        address = portal.url
        assert portal.stop() == 0
        portal.start()
        assert (portal.url, portal.alive) == (address, True)
        portal.kill()
        assert not portal.alive


def test_a_portal_that_fails_to_start_shows_its_log() -> None:
    command = (sys.executable, "-c", "print('the reason'); raise SystemExit(3)")
    with pytest.raises(StartError, match=r"(?s)exited with status 3.*the reason"):
        PortalProcess(command=command)


def test_a_portal_that_is_never_ready_is_given_up() -> None:
    with pytest.raises(StartError, match="/health/ready gave"):
        PortalProcess(**stand_in(), start_seconds=1)


def test_a_logged_traceback_is_a_fault_unless_it_is_allowed() -> None:
    command = (sys.executable, "-c", "raise ValueError('boom')")
    for allowed in (False, True):
        portal = PortalProcess(command=command, ready=False)
        portal.wait()
        faults = end_and_inspect(portal, traceback_allowed=allowed)
        assert ["boom" in fault for fault in faults] == ([] if allowed else [True])


def test_a_portal_that_ignores_the_request_to_stop_is_a_fault_and_is_killed() -> None:
    stubborn = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: None)
print('up')
while True:
    time.sleep(9)
"""
    portal = PortalProcess(command=(sys.executable, "-c", stubborn), ready=False)
    portal.await_log("up")
    with pytest.raises(AssertionError, match="never wrote"):
        portal.await_log("never said", 0.1)
    with pytest.raises(AssertionError, match=r"did not stop within 0\.2 s"):
        portal.stop(0.2)
    assert not portal.alive
    portal.close()


def test_the_command_line_runs_in_a_home_of_its_own(tmp_path: Path) -> None:
    result = run_cli("--no-such-option", folder=tmp_path)
    assert result.returncode != 0
    assert result.stderr
    assert isinstance(result.stdout, str)
