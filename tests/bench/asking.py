"""Requests as bytes, a blocking client to time them with, and the load generator's caller."""

import json
import socket
import subprocess
import sys
import time
from types import TracebackType
from typing import Any, Self

import httptools
import msgspec

from tests.bench.figures import BenchError
from tests.bench.load import HOST, Job, Outcome
from tests.fakes.fake import ROOT

ANSWER_SECONDS = 30.0
BODY_BYTES = 1024
READ = 65536

SDK_HEADERS = """\
Accept: application/json
Accept-Encoding: identity
Connection: keep-alive
User-Agent: AsyncOpenAI/Python 3.54.0
X-Stainless-Lang: python
X-Stainless-Package-Version: 3.54.0
X-Stainless-OS: Linux
X-Stainless-Arch: x64
X-Stainless-Runtime: CPython
X-Stainless-Runtime-Version: 3.11.7
X-Stainless-Async: async:asyncio
x-stainless-retry-count: 0
x-stainless-read-timeout: 600
"""
"""What the official client sends beside the necessary: a head of the usual size.

But for the encoding: a server that compresses would be charged for what others leave undone.
"""


def chat_body(model: str, *, stream: bool = False, size: int = BODY_BYTES) -> bytes:
    """Word a chat of exactly `size` bytes: a system prompt, and a question that fills it up."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": ""},
        ],
        "temperature": 0.7,
        "stream": stream,
    }
    missing = size - len(json.dumps(body))
    body["messages"][1]["content"] = ("Tell me about the sea. " * (missing // 20 + 1))[:missing]
    return json.dumps(body).encode()


def request(
    port: int, path: str, body: bytes = b"", *, key: str | None = None, method: str = ""
) -> bytes:
    """Put a whole HTTP request into one piece of bytes."""
    lines = [f"{method or ('POST' if body else 'GET')} {path} HTTP/1.1", f"Host: {HOST}:{port}"]
    lines += SDK_HEADERS.splitlines()
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def run_load(job: Job) -> Outcome:
    """Run the load generator on a job. Raises BenchError with its reason."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.load"],
            input=msgspec.json.encode(job),
            capture_output=True,
            cwd=ROOT,
            timeout=job.seconds + 30,
        )
    except subprocess.TimeoutExpired as error:
        raise BenchError("the load generator did not end in time") from error
    if done.returncode != 0:
        written = done.stderr.decode("utf-8", "replace").strip() or "it gave no reason"
        raise BenchError(f"the load failed: {written.splitlines()[-1]}")
    return msgspec.json.decode(done.stdout, type=Outcome)


class Caller:
    """One kept connection, used by one request at a time, without an event loop in the way."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port), ANSWER_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._parser = httptools.HttpResponseParser(self)
        self._complete = False
        self._body: list[bytes] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Send a request without waiting."""
        self._complete = False
        self._socket.sendall(data)

    def receive(self) -> bytes:
        """Wait for the rest of the answer and return its body. BenchError unless it is a 200."""
        while not self._complete:
            self.receive_some()
        body = b"".join(self._body)
        self._body.clear()
        status = self._parser.get_status_code()
        if status != 200:
            raise BenchError(f"status {status}, {body[:300]!r}")
        return body

    def receive_some(self) -> None:
        """Wait for the next bytes of the answer."""
        data = self._socket.recv(READ)
        if not data:
            raise BenchError("the server closed the connection in mid-answer")
        self._parser.feed_data(data)

    def timed(self, data: bytes) -> float:
        """Ask and wait for the whole answer; milliseconds."""
        started = time.perf_counter()
        self.send(data)
        self.receive()
        return (time.perf_counter() - started) * 1000

    def close(self) -> None:
        """Leave at once, whatever is under way."""
        self._socket.close()

    # httptools calls these two.
    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._complete = True
