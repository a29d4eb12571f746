"""One Portal from start to end: up, status, down, signals, crashes, and what is in the way."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import StartPortal
from tests.harness import TRACEBACK, Fake, PortalProcess, StartError, free_port, run_cli
from tests.on_terminal import Command
from tests.test_cli_chat import write_config


def status_of(portal: PortalProcess) -> dict[str, Any]:
    """Ask `portal status --json`, whatever its exit status is."""
    found: dict[str, Any] = json.loads(run_cli("status", "--json", portal=portal).stdout)
    return found


def await_log(portal: PortalProcess, text: str) -> list[str]:
    """Wait until Portal wrote a text, and give its lines."""
    deadline = time.monotonic() + 10
    while text not in portal.logs():
        assert time.monotonic() < deadline, portal.logs()
        time.sleep(0.02)
    return portal.logs().splitlines()


def await_file(path: Path, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a running program wrote a file."""
    deadline = time.monotonic() + 20
    while not path.exists():
        assert process.poll() is None, "it ended"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_status_tells_what_runs(start_portal: StartPortal, ollama: Fake) -> None:
    portal = start_portal(backends=[ollama])
    done = run_cli("status", "--json", portal=portal)
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["running"] is True
    assert found["pid"] == portal.pid
    assert found["url"] == portal.url
    assert found["status"] == "ok"
    assert found["uptime_seconds"] >= 0
    assert found["backends"][0]["name"] == "ollama"
    text = run_cli("status", portal=portal).stdout
    assert str(portal.pid) in text
    assert portal.url in text
    assert "live" in text


def test_the_link_of_status_signs_a_browser_in_once(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(backends=[ollama])
    link = status_of(portal)["link"]
    with httpx.Client(trust_env=False) as browser:
        opened = browser.get(link)
        assert opened.status_code == 303
        cookie = {"cookie": f"portal_session={opened.cookies['portal_session']}"}
        assert browser.get(f"{portal.url}/portal/backends", headers=cookie).status_code == 200
        assert browser.get(link).status_code == 403


def test_up_prints_a_link_that_signs_in_and_who_answers(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(backends=[ollama])
    lines = await_log(portal, "`auto` is answered by ollama/")
    link = next(word for line in lines for word in line.split() if "/portal/session/" in word)
    assert link.startswith(portal.url)
    assert httpx.get(link, trust_env=False).status_code == 303


def test_status_is_1_when_something_is_wrong(start_portal: StartPortal) -> None:
    dead = {"name": "gone", "kind": "ollama", "url": f"http://127.0.0.1:{free_port()}"}
    portal = start_portal(backends=[dead])
    await_log(portal, "No model can answer yet.")
    done = run_cli("status", portal=portal)
    assert done.returncode == 1
    assert "degraded" in done.stdout
    assert "The backend gone is down" in done.stdout


def test_without_a_portal_status_and_down_are_1(tmp_path: Path) -> None:
    done = run_cli("status", folder=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "not running" in done.stdout
    assert json.loads(run_cli("status", "--json", folder=tmp_path).stdout) == {"running": False}
    done = run_cli("down", folder=tmp_path)
    assert (done.returncode, done.stderr) == (1, "portal: Portal is not running.\n")
    assert not (tmp_path / "state").exists()


def test_down_ends_it_in_order(start_portal: StartPortal, ollama: Fake) -> None:
    portal = start_portal(backends=[ollama])
    done = run_cli("down", portal=portal)
    assert (done.returncode, done.stdout) == (0, "Portal has stopped.\n")
    assert portal.wait() == 0
    assert not (portal.state_dir / "run.json").exists()
    assert run_cli("status", portal=portal).returncode == 1


def test_down_ends_a_portal_that_does_not_know_its_token_any_more(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(backends=[ollama])
    run_json = portal.state_dir / "run.json"
    run_json.write_text(json.dumps(portal.run_json() | {"token": "wrong"}), "utf-8")
    assert run_cli("down", portal=portal).returncode == 0
    assert portal.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_by_signal_is_a_normal_end(
    start_portal: StartPortal, ollama: Fake, number: int
) -> None:
    portal = start_portal(backends=[ollama])
    os.kill(portal.pid, number)
    assert portal.wait() == 0
    assert not (portal.state_dir / "run.json").exists()
    assert TRACEBACK not in portal.logs()


def test_a_stop_waits_for_an_answer_under_way(start_portal: StartPortal, ollama: Fake) -> None:
    portal = start_portal(backends=[ollama])
    ollama.script(tokens=["One", " two"], manual=True)
    env = portal.env | {"PORTAL_CONFIG": str(portal.config)}
    with Command("chat", "Count.", env=env, folder=portal.folder) as command:
        ollama.wait("request", path="/api/chat")
        ollama.step()
        command.read_until("One")
        os.kill(portal.pid, signal.SIGTERM)
        ollama.step(10)
        command.read_until("One two\n")
        assert command.wait() == 0
    assert portal.wait() == 0


def test_a_second_up_is_refused_and_names_the_first(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(backends=[ollama])
    for more in ([], ["--detach"]):
        done = run_cli("up", "--no-browser", "--port", str(free_port()), *more, portal=portal)
        assert done.returncode == 1
        assert str(portal.pid) in done.stderr
        assert portal.url in done.stderr
    assert portal.client.get("/health/ready").status_code == 200
    assert portal.run_json()["pid"] == portal.pid


def test_after_a_crash_up_works_again(start_portal: StartPortal, ollama: Fake) -> None:
    portal = start_portal(backends=[ollama])
    first = portal.pid
    portal.kill()
    assert (portal.state_dir / "run.json").exists()
    assert run_cli("status", portal=portal).returncode == 1
    portal.start()
    assert portal.pid != first
    assert portal.run_json()["pid"] == portal.pid


def test_run_json_is_private(start_portal: StartPortal, ollama: Fake) -> None:
    portal = start_portal(backends=[ollama])
    assert (portal.state_dir / "run.json").stat().st_mode & 0o777 == 0o600
    assert portal.run_json()["token"] not in portal.logs()


def test_a_taken_port_is_told_with_a_way_out(tmp_path: Path) -> None:
    port = free_port()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        done = run_cli("up", "--no-browser", "--port", str(port), folder=tmp_path)
    assert done.returncode == 1
    assert f"port {port}" in done.stderr
    assert "--port" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "state" / "run.json").exists()


def test_an_unusable_state_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    for words in (["up", "--no-browser"], ["status"], ["chat", "Hello."]):
        env = {"PORTAL_STATE_DIR": str(tmp_path / "file" / "state")}
        done = run_cli(*words, folder=tmp_path, env=env)
        assert done.returncode == 1
        assert TRACEBACK not in done.stderr


def test_options_of_the_command_line_win(start_portal: StartPortal, ollama: Fake) -> None:
    port = free_port()
    portal = start_portal(
        backends=[ollama],
        port=port,
        command=(
            *(sys.executable, "-m", "portal.runtime", "up", "--no-browser"),
            *("--config", "{config}", "--port", "{port}", "--host", "localhost"),
        ),
        server={"port": 1, "host": "127.0.0.1"},
    )
    assert portal.run_json()["url"].endswith(f":{port}")


def test_off_loopback_without_a_key_it_does_not_start(tmp_path: Path) -> None:
    done = run_cli("up", "--no-browser", "--host", "0.0.0.0", folder=tmp_path)
    assert done.returncode == 1
    assert "PORTAL_AUTH__API_KEY" in done.stderr


def test_the_log_is_json_when_nobody_watches_and_has_no_secret(start_portal: StartPortal) -> None:
    key = "0123456789abcdef-own-key"
    dead = {"name": "gone", "kind": "openai", "url": f"http://127.0.0.1:{free_port()}"}
    portal = start_portal(backends=[dead | {"api_key": key}], auth={"api_key": key})
    await_log(portal, "backend gone is dead")
    (line,) = [line for line in portal.logs().splitlines() if "backend gone is dead" in line]
    found = json.loads(line)
    assert found["logger"] == "portal.discovery"
    assert found["level"] == "info"
    assert key not in portal.logs()


def test_without_the_weights_it_starts_and_says_what_to_do(start_portal: StartPortal) -> None:
    portal = start_portal(embedded={"enabled": True, "model_path": "nowhere.gguf"})
    await_log(portal, "No model can answer yet.")
    assert "nowhere.gguf" in portal.logs()
    assert "Ollama" in portal.logs()
    assert portal.client.get("/health/ready").status_code == 200


def test_detach_returns_when_it_is_ready(tmp_path: Path, ollama: Fake) -> None:
    env = write_config(tmp_path, backends=[ollama], server={"port": free_port()})
    try:
        done = run_cli("up", "--detach", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        found = json.loads(run_cli("status", "--json", folder=tmp_path).stdout)
        assert found["url"] in done.stdout
        assert str(found["pid"]) in done.stdout
        link = next(word for word in done.stdout.split() if "/portal/session/" in word)
        assert httpx.get(link, trust_env=False).status_code == 303
        log = Path(env["PORTAL_STATE_DIR"]) / "logs" / "portal.log"
        assert log.stat().st_mode & 0o777 == 0o600
        assert "/portal/session/" not in log.read_text("utf-8")
    finally:
        down = run_cli("down", folder=tmp_path)
    assert down.returncode == 0


def test_detach_shows_why_it_did_not_start(tmp_path: Path) -> None:
    port = free_port()
    write_config(tmp_path, server={"port": port})
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        done = run_cli("up", "--detach", folder=tmp_path)
    assert done.returncode == 1
    assert f"port {port}" in done.stderr
    assert "portal.log" in done.stderr
    assert run_cli("status", folder=tmp_path).returncode == 1


def test_a_portal_whose_output_nobody_reads_goes_on(tmp_path: Path, ollama: Fake) -> None:
    env = write_config(tmp_path, backends=[ollama], server={"port": free_port()})
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        [sys.executable, "-m", "portal.runtime", "up", "--no-browser"],
        cwd=tmp_path,
        env=env,
        stdout=writing,
        stderr=writing,
        stdin=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        run_json = tmp_path / "state" / "run.json"
        await_file(run_json, process)
        url = json.loads(run_json.read_text("utf-8"))["url"]
        assert httpx.get(f"{url}/health/ready", trust_env=False).status_code == 200
        process.terminate()
        assert process.wait(15) in (0, 1)
        assert not run_json.exists()
    finally:
        process.kill()
        process.wait()


def test_a_start_that_fails_is_a_start_error(start_portal: StartPortal) -> None:
    with pytest.raises(StartError, match="status 1"):
        start_portal(server={"hots": "x"})
