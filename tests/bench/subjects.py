"""What is measured: Portal with a key and nothing that runs beside it, and the fakes behind it."""

import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from tests.bench.asking import request
from tests.bench.figures import BenchError
from tests.fakes.fake import ROOT, Fake
from tests.fakes.running import HOST, Program, clean_environment, free_port
from tests.harness import PortalProcess

KEY = "bench-key-bench-key-bench-key"
MODEL = "bench"
OLLAMA_MODEL = "bench:1b"
CHAT = "/v1/chat/completions"
WORKSPACES = {
    "auto-openai": {"model": f"openai/{MODEL}"},
    "auto-ollama": {"model": f"ollama/{OLLAMA_MODEL}"},
}
"""One for each kind of backend, so that a turn's path is chosen by name."""
REPLY = "The sea is salt water. " * 30
"""A reply whose answer is about 1 KB."""
KNOWN_SECONDS = 15.0


class Subject(msgspec.Struct, frozen=True):
    """A gateway under load: where it listens, what it is asked, which processes it is."""

    name: str
    port: int
    request: bytes
    pids: tuple[int, ...]


def openai_fake() -> Fake:
    """Start an OpenAI-compatible backend with the one model."""
    return Fake("openai_compatible", "--models", msgspec.json.encode([MODEL]).decode())


def ollama_fake() -> Fake:
    """Start an Ollama with the one model."""
    return Fake("ollama", "--models", msgspec.json.encode([OLLAMA_MODEL]).decode())


def portal(*backends: Fake | Mapping[str, Any], **settings: Any) -> PortalProcess:
    """Start Portal as a user does, a key required, and return when it is ready."""
    tables: dict[str, Any] = {"auth": {"api_key": KEY}, "workspaces": WORKSPACES}
    return PortalProcess(backends=backends, **(tables | settings))


def await_models(subject: PortalProcess, *names: str) -> None:
    """Wait until Portal lists these models. BenchError if that does not come."""
    deadline = time.monotonic() + KNOWN_SECONDS
    listed: set[str] = set()
    while time.monotonic() < deadline:
        answer = subject.client.get("/v1/models", headers={"Authorization": f"Bearer {KEY}"})
        if answer.status_code == httpx.codes.OK:
            listed = {model["id"] for model in answer.json()["data"]}
            if listed.issuperset(names):
                return
        time.sleep(0.05)
    raise BenchError(f"Portal lists {sorted(listed)}, expected {sorted(names)}")


def chat_request(subject: PortalProcess, body: bytes) -> bytes:
    """Word a chat to Portal, with its key."""
    return request(subject.port, CHAT, body, key=KEY)


@contextmanager
def bare_relay(fake: Fake, body: bytes) -> Iterator[Subject]:
    """Run a relay that only copies bytes in front of a backend: the floor of this machine."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-floor-") as name:
        program = Program(Path(name) / "log")
        words = ["-m", "tests.bench.floor", "--port", str(port), "--upstream", str(fake.port)]
        try:
            program.launch([sys.executable, *words], cwd=ROOT, env=clean_environment(Path(name)))
            await_listening(port)
            yield Subject("a bare relay", port, request(port, CHAT, body, key=KEY), (program.pid,))
        finally:
            program.clear()


def await_listening(port: int) -> None:
    """Wait until somebody accepts on a port. BenchError if that does not come."""
    deadline = time.monotonic() + KNOWN_SECONDS
    while time.monotonic() < deadline:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.02)
    raise BenchError(f"nobody listens on port {port} after {KNOWN_SECONDS} s")
