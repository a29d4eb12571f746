"""Hostile requests to `portal up`: a clear error in OpenAI's shape, and the server unharmed."""

import gzip
import json
import socket
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.harness import Fake, PortalProcess

CHAT = "/v1/chat/completions"
ASK = [{"role": "user", "content": "hi"}]
LIMITS = {"header_seconds": 0.5, "body_seconds": 0.5, "max_header_bytes": 16384}


@pytest.fixture(scope="module")
def portal(openai_program: Fake) -> Iterator[PortalProcess]:
    """A Portal with short patience, and one backend."""
    openai_program.ensure()
    with PortalProcess(server=LIMITS, backends=[openai_program.backend("vllm")]) as started:
        started.await_log("vllm is live")
        yield started
        assert "Traceback" not in started.logs()


@pytest.fixture(autouse=True)
def unharmed(portal: PortalProcess) -> Iterator[None]:
    """After each attack the next request is answered."""
    yield
    answer = portal.client.post(CHAT, json={"model": "auto", "messages": ASK})
    assert answer.status_code == 200


def error_of(portal: PortalProcess, content: bytes | str, path: str = CHAT) -> tuple[int, Any]:
    """Post a body, and return the status and the error."""
    answer = portal.client.post(path, content=content)
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    return answer.status_code, answer.json()["error"]


def send_raw(portal: PortalProcess, *pieces: bytes, seconds: float = 10) -> bytes:
    """Send bytes as they are and read until the server closes or falls silent."""
    with socket.create_connection(("127.0.0.1", portal.port), timeout=seconds) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass  # Refused in the middle: what it said is still to be read.
        found = b""
        try:
            while data := connection.recv(65536):
                found += data
        except (TimeoutError, ConnectionResetError):
            pass
    return found


def chat(**fields: Any) -> bytes:
    """Make a chat body."""
    return json.dumps({"model": "auto", "messages": ASK, **fields}).encode()


@pytest.mark.parametrize("path", [CHAT, "/portal/turns"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"not json",
        b"[]",
        b"null",
        b'"text"',
        b"{}",
        b'{"model": "auto"}',
        b'{"messages": "hi", "model": "auto"}',
        b'{"messages": [], "model": "auto"}',
        b'{"messages": [7], "model": "auto"}',
        b'{"messages": [{"role": "wizard", "content": "x"}], "model": "auto"}',
        b'{"model": 7, "messages": []}',
        b'{"model": "auto", "messages": [{"role": "user", "content": "\xff\xfe"}]}',
        b'{"model": "auto", "messages": ' + b"[" * 200_000,
        b'{"a":' * 100_000,
        b"\x00" * 100,
        b'{"model": "auto", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"model": "auto", "temperature": 1e999, "messages": [{"role":"user","content":"x"}]}',
    ],
)
def test_malformed_bodies_are_400(portal: PortalProcess, path: str, body: bytes) -> None:
    status, error = error_of(portal, body, path)
    assert status == 400
    assert error["type"] == "invalid_request_error"
    assert error["message"]


def test_wrong_types_are_named_with_their_place(portal: PortalProcess) -> None:
    status, error = error_of(portal, chat(temperature="hot"))
    assert (status, error["param"]) == (400, "temperature")
    assert "float" in error["message"]
    assert "str" in error["message"]
    status, error = error_of(portal, chat(messages=[{"role": "user", "content": 7}]))
    assert (status, error["param"]) == (400, "messages[0].content")


@pytest.mark.parametrize("model", ["nope", "", "auto ", "vllm/", "x" * 100_000, "../../etc", "ü"])
def test_unknown_models_are_404(portal: PortalProcess, model: str) -> None:
    status, error = error_of(portal, chat(model=model))
    assert (status, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert len(error["message"]) < 600


@pytest.mark.parametrize("path", ["/nope", "/v1", "/v1/chat", "/../etc/passwd", "/%00", "/v1//x"])
def test_unknown_routes_are_404(portal: PortalProcess, path: str) -> None:
    answer = portal.client.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "GET"])
def test_wrong_methods_are_405_and_name_the_right_ones(portal: PortalProcess, method: str) -> None:
    answer = portal.client.request(method, CHAT)
    assert answer.status_code == 405
    assert "POST" in answer.headers["allow"]
    assert "POST" in answer.json()["error"]["message"]


def test_a_declared_length_over_the_limit_is_413_before_it_is_sent(portal: PortalProcess) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {17 * 1024 * 1024}\r\n\r\n"
    answer = send_raw(portal, head.encode())
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"16 MiB" in answer
    assert b"connection: close" in answer


def test_an_endless_chunked_body_is_413(portal: PortalProcess) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    answer = send_raw(portal, head.encode(), *[chunk] * 18)
    assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("length", ["-5", "1e3", "0x10", "9" * 40, "5, 6"])
def test_a_malformed_length_is_400(portal: PortalProcess, length: str) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{{}}"
    assert send_raw(portal, head.encode(), seconds=3).startswith(b"HTTP/1.1 4")


def test_a_body_that_stops_coming_is_408(portal: PortalProcess) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{{"
    answer = send_raw(portal, head.encode())
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"request_timeout" in answer


def test_a_head_that_stops_coming_is_408(portal: PortalProcess) -> None:
    answer = send_raw(portal, b"GET /health HTTP/1.1\r\nhost: local")
    assert answer.startswith(b"HTTP/1.1 408")


def test_a_silent_connection_is_closed(portal: PortalProcess) -> None:
    assert send_raw(portal) == b""


@pytest.mark.parametrize(
    "flood",
    [
        b"".join(b"x-%d: %s\r\n" % (number, b"v" * 100) for number in range(1000)),
        b"x-long: " + b"v" * 1_000_000 + b"\r\n",
        b"x" * 1_000_000,
    ],
    ids=["many", "long", "endless name"],
)
def test_a_flood_of_headers_is_refused(portal: PortalProcess, flood: bytes) -> None:
    answer = send_raw(portal, b"GET /health HTTP/1.1\r\nhost: localhost\r\n" + flood + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 431")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "headers_too_large"


def test_an_endless_path_is_refused(portal: PortalProcess) -> None:
    answer = send_raw(portal, b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"HELLO\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
    ],
)
def test_what_is_not_http_is_400_in_json(portal: PortalProcess, data: bytes) -> None:
    answer = send_raw(portal, data)
    assert answer.startswith(b"HTTP/1.1 400")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_request"


def test_two_hosts_are_refused(portal: PortalProcess) -> None:
    data = b"GET /health HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n"
    assert send_raw(portal, data, seconds=3).startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("br", bytes),
        ("identity, gzip", gzip.compress),
    ],
)
def test_a_compressed_body_is_415_and_told_to_come_uncompressed(
    portal: PortalProcess, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    answer = portal.client.post(CHAT, content=pack(chat()), headers={"content-encoding": encoding})
    assert answer.status_code == 415
    assert answer.headers["accept-encoding"] == "identity"
    error = answer.json()["error"]
    assert error["code"] == "unsupported_media_type"
    assert f"Content-Encoding {encoding!r}" in error["message"]
    assert "send it uncompressed" in error["message"]


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
def test_a_body_that_says_it_is_not_compressed_is_answered(
    portal: PortalProcess, encoding: str
) -> None:
    answer = portal.client.post(CHAT, content=chat(), headers={"content-encoding": encoding})
    assert answer.status_code == 200


def test_a_large_compressed_body_is_refused_before_it_has_come(portal: PortalProcess) -> None:
    head = (
        f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-encoding: gzip\r\n"
        "content-length: 1000000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", portal.port), timeout=10) as connection:
        connection.sendall(head.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 415")


def test_a_form_from_a_page_is_415(portal: PortalProcess) -> None:
    answer = portal.client.post(
        CHAT,
        content=chat(),
        headers={"origin": portal.url, "content-type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 415


def test_curl_without_a_json_type_is_answered(portal: PortalProcess) -> None:
    answer = portal.client.post(
        CHAT, content=chat(), headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert answer.status_code == 200


def test_a_large_body_within_the_limit_is_answered(portal: PortalProcess) -> None:
    answer = portal.client.post(CHAT, content=b" " * (2 * 1024 * 1024) + chat(max_tokens=1))
    assert answer.status_code == 200
