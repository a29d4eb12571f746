"""ROUTER_TOKEN on every path of the proxy: none, a wrong and the right one, and no token at all."""

import hmac
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from portal.runtime.catalogue import SEGMENT, discover
from portal.runtime.hosts.gate import Gate
from portal.runtime.ops import schema
from portal.shared.contract import Route, Scope
from tests.harness import Fake, PortalProcess

TOKEN = "a-router-token-for-this-test"
PROXY = [
    function.trigger
    for function in discover()
    if isinstance(function.trigger, Route) and function.trigger.path.startswith(("/api/", "/v1/"))
]
IDS = [f"{route.method} {route.path}" for route in PROXY]
CHAT = [route for route in PROXY if route.scope is Scope.CHAT]
MODEL = "ollama/qwen2.5:7b"


@pytest.fixture(scope="module")
def closed(ollama_program: Fake, openai_program: Fake) -> Iterator[PortalProcess]:
    """A Portal with a router token."""
    backends = [ollama_program.backend("ollama"), openai_program.backend("vllm")]
    with PortalProcess(backends=backends, env={"ROUTER_TOKEN": TOKEN}) as portal:
        known = {"authorization": f"Bearer {TOKEN}"}
        for _ in range(400):
            listed = portal.client.get("/api/tags", headers=known).json()["models"]
            if "nomic-embed-text:latest" in [row["name"] for row in listed]:
                break  # from now on, what the fake is asked comes from a test
        yield portal


@pytest.fixture(scope="module")
def opened(ollama_program: Fake) -> Iterator[PortalProcess]:
    """A Portal without one, on loopback."""
    with PortalProcess(backends=[ollama_program.backend("ollama")]) as portal:
        yield portal


def call(portal: PortalProcess, route: Route, authorization: str | None) -> httpx.Response:
    """Call a route with a body that any of them understands far enough."""
    body: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
    body |= {"prompt": "hi", "input": "hi", "stream": False, "source": MODEL, "destination": "b"}
    headers = {} if authorization is None else {"authorization": authorization}
    path = SEGMENT.sub("nothing", route.path)
    if route.method == "GET":
        return portal.client.get(path, headers=headers)
    return portal.client.request(route.method, path, json=body, headers=headers)


def test_the_proxy_has_all_its_paths() -> None:
    found = {(route.method, route.path) for route in PROXY}
    assert found >= {
        ("POST", "/api/chat"),
        ("POST", "/api/generate"),
        ("GET", "/api/tags"),
        ("POST", "/api/show"),
        ("GET", "/api/ps"),
        ("GET", "/api/version"),
        ("POST", "/api/embed"),
        ("POST", "/api/embeddings"),
        ("POST", "/api/pull"),
        ("DELETE", "/api/delete"),
        ("POST", "/api/{path:path}"),
        ("GET", "/api/{path:path}"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/{path:path}"),
        ("GET", "/v1/models"),
    }
    assert {route.scope for route in PROXY} == {Scope.CHAT, Scope.ADMIN}


@pytest.mark.parametrize("route", PROXY, ids=IDS)
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong-token-wrong-token",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
    ],
)
def test_without_the_token_nothing_of_the_proxy_answers(
    closed: PortalProcess, ollama: Fake, route: Route, authorization: str | None
) -> None:
    answer = call(closed, route, authorization)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    error = answer.json()["error"]
    words = error if isinstance(error, str) else error["message"]
    assert "Authorization: Bearer" in words
    assert [request for request in ollama.requests() if request.method == "POST"] == []


@pytest.mark.parametrize("route", CHAT, ids=[f"{route.method} {route.path}" for route in CHAT])
def test_with_the_token_the_proxy_answers(
    closed: PortalProcess, ollama: Fake, openai_server: Fake, route: Route
) -> None:
    answer = call(closed, route, f"Bearer {TOKEN}")
    assert answer.status_code not in (401, 403)
    # The token is Portal's: no backend ever sees it.
    for request in ollama.requests() + openai_server.requests():
        assert request.header("authorization") is None


@pytest.mark.parametrize("route", CHAT, ids=[f"{route.method} {route.path}" for route in CHAT])
@pytest.mark.parametrize("authorization", [None, "Bearer whatever-an-sdk-sends"])
def test_where_no_token_is_set_loopback_is_open(
    opened: PortalProcess, ollama: Fake, route: Route, authorization: str | None
) -> None:
    assert call(opened, route, authorization).status_code not in (401, 403)


def test_the_token_alone_does_not_change_the_server(closed: PortalProcess, ollama: Fake) -> None:
    owners = [route for route in PROXY if route.scope is Scope.ADMIN]
    assert len(owners) >= 6
    for route in owners:
        assert call(closed, route, f"Bearer {TOKEN}").status_code == 403
    assert [r for r in ollama.requests() if r.method in ("POST", "DELETE")] == []


def test_every_key_is_compared_in_constant_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def watched(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    settings = schema.Settings(tmp_path, tmp_path, router_token=TOKEN)
    gate = Gate(settings, owner_token="the-owner-of-this", session_caller=lambda _: None)
    headers = [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {TOKEN}".encode())]
    head = gate.admit("GET", headers)
    assert head.caller is not None
    assert head.caller.key == "router_token"
    assert [other for _, other in compared] == [b"the-owner-of-this", TOKEN.encode()]
