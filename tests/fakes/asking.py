"""Plain requests to the fakes, by httpx and by hand, for tests of the fakes themselves."""

import json
import socket
from typing import Any

import httpx

from tests.fakes.fake import Fake

CHAT = "/v1/chat/completions"
VLLM_MODEL = "Qwen/Qwen2.5-7B-Instruct"


def post(fake: Fake, path: str, body: Any, **more: Any) -> httpx.Response:
    """Post JSON to a fake, on a connection of its own."""
    with httpx.Client(base_url=fake.url, trust_env=False, timeout=10) as client:
        return client.post(path, json=body, **more)


def get(fake: Fake, path: str, **more: Any) -> httpx.Response:
    """Get a path of a fake, on a connection of its own."""
    with httpx.Client(base_url=fake.url, trust_env=False, timeout=10) as client:
        return client.get(path, **more)


def ask(text: str = "one two", **more: Any) -> dict[str, Any]:
    """Word a chat request for the fake vLLM."""
    return {"model": VLLM_MODEL, "messages": [{"role": "user", "content": text}]} | more


def ask_ollama(text: str = "one two", **more: Any) -> dict[str, Any]:
    """Word a chat request for the fake Ollama."""
    return ask(text) | {"model": "qwen2.5:7b"} | more


def events(answer: httpx.Response) -> list[Any]:
    """Decode server-sent events; the last must be `[DONE]`."""
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def lines(answer: httpx.Response) -> list[Any]:
    """Decode NDJSON."""
    return [json.loads(line) for line in answer.text.splitlines()]


def connect(fake: Fake, path: str, body: Any) -> socket.socket:
    """Send a request by hand, the connection left open."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
    sock = socket.create_connection(("127.0.0.1", fake.port), timeout=10)
    sock.sendall(head.encode() + data)
    return sock


def read_until(sock: socket.socket, mark: bytes) -> bytes:
    """Receive until the mark has come. AssertionError if the connection ends before."""
    got = b""
    while mark not in got:
        data = sock.recv(65536)
        assert data, f"closed before {mark!r}: {got!r}"
        got += data
    return got


def read_all(sock: socket.socket) -> bytes:
    """Receive until the connection ends."""
    got = b""
    while data := sock.recv(65536):
        got += data
    return got
