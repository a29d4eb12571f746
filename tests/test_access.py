"""Every route, with every scope and none: who gets in through `portal up`."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from portal.runtime.catalogue import SEGMENT, discover
from portal.shared.contract import Route, Scope
from tests.conftest import StartPortal
from tests.harness import PortalProcess

KEY = "a-static-key-for-this-test"
ROUTER = "a-router-token-for-this-test"
ROUTES = [
    function.trigger
    for function in discover()
    if isinstance(function.trigger, Route)
    # Two have tests of their own: one would end the server, the other answers 403 to any code.
    and function.name not in ("system.stop", "web.open_session")
]
IDS = [f"{route.method} {route.path}" for route in ROUTES]


@pytest.fixture(scope="module")
def open_portal() -> Iterator[PortalProcess]:
    """A Portal as it is after installation."""
    with PortalProcess() as portal:
        yield portal


@pytest.fixture(scope="module")
def keyed_portal() -> Iterator[PortalProcess]:
    """A Portal with a static key and a router token."""
    env = {"PORTAL_AUTH__API_KEY": KEY, "ROUTER_TOKEN": ROUTER}
    with PortalProcess(env=env) as portal:
        yield portal


def call(portal: PortalProcess, route: Route, **headers: str) -> httpx.Response:
    """Call a route with made-up segments and an empty body."""
    path = SEGMENT.sub("nothing", route.path)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return portal.client.request(
        route.method, path, headers=sent, content=b"{}" if route.method == "POST" else b""
    )


def refused(answer: httpx.Response) -> bool:
    """Tell whether it was turned away for who it is."""
    if answer.status_code not in (401, 403):
        return False
    if answer.headers["content-type"] != "application/json":
        return False
    error = answer.json()["error"]
    # Ollama's errors are a sentence, without a code.
    return isinstance(error, str) or error["code"] in ("invalid_api_key", "forbidden")


@pytest.mark.parametrize("route", ROUTES, ids=IDS)
def test_a_keyless_caller_on_loopback_reaches_public_and_chat_only(
    open_portal: PortalProcess, route: Route
) -> None:
    expected = route.scope in (Scope.PUBLIC, Scope.CHAT, Scope.WEBHOOK)
    assert refused(call(open_portal, route)) is not expected


@pytest.mark.parametrize("route", ROUTES, ids=IDS)
def test_the_owner_token_reaches_every_route(open_portal: PortalProcess, route: Route) -> None:
    token = open_portal.run_json()["token"]
    assert not refused(call(open_portal, route, authorization=f"Bearer {token}"))


@pytest.mark.parametrize("route", ROUTES, ids=IDS)
def test_where_a_key_is_required_only_public_routes_are_open(
    keyed_portal: PortalProcess, route: Route
) -> None:
    expected = route.scope in (Scope.PUBLIC, Scope.WEBHOOK)
    for headers in ({}, {"authorization": "Bearer wrong-key-wrong-key"}):
        answer = call(keyed_portal, route, **headers)
        assert refused(answer) is not expected
        if not expected:
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("route", ROUTES, ids=IDS)
def test_the_router_token_chats_and_does_not_administer(
    keyed_portal: PortalProcess, route: Route
) -> None:
    expected = route.scope in (Scope.PUBLIC, Scope.CHAT, Scope.WEBHOOK)
    answer = call(keyed_portal, route, authorization=f"Bearer {ROUTER}")
    assert refused(answer) is not expected


@pytest.mark.parametrize("route", ROUTES, ids=IDS)
def test_the_static_key_reaches_every_route(keyed_portal: PortalProcess, route: Route) -> None:
    assert not refused(call(keyed_portal, route, authorization=f"Bearer {KEY}"))


@pytest.mark.parametrize("route", ROUTES, ids=IDS)
def test_a_foreign_page_reaches_no_route(open_portal: PortalProcess, route: Route) -> None:
    for headers in (
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"host": "evil.example"},
    ):
        assert call(open_portal, route, **headers).status_code == 403


@pytest.mark.parametrize("route", ROUTES, ids=IDS)
def test_behind_a_tunnel_only_liveness_is_open(open_portal: PortalProcess, route: Route) -> None:
    expected = route.path == "/health/live" or route.scope is Scope.WEBHOOK
    answer = call(open_portal, route, x_forwarded_for="203.0.113.7")
    assert refused(answer) is not expected
    if not expected:
        assert answer.status_code == 401


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "DELETE", "TRACE", "HEAD", "BREW"])
def test_a_foreign_page_is_refused_on_any_method_and_path(
    open_portal: PortalProcess, method: str
) -> None:
    for path in ("/v1/models", "/no/such/path"):
        answer = open_portal.client.request(method, path, headers={"origin": "http://evil.example"})
        assert answer.status_code in (400, 403)
        assert "access-control-allow-origin" not in answer.headers


def test_a_page_session_administers_and_its_link_works_once(open_portal: PortalProcess) -> None:
    token = open_portal.run_json()["token"]
    answer = open_portal.client.post(
        "/portal/session-links", headers={"authorization": f"Bearer {token}"}
    )
    path = answer.json()["path"]
    with httpx.Client(base_url=open_portal.url, trust_env=False) as browser:
        opened = browser.get(path)
        assert (opened.status_code, opened.headers["location"]) == (303, "/")
        cookie = opened.headers["set-cookie"]
        assert re.search("HttpOnly", cookie)
        assert re.search("SameSite=Strict", cookie, re.IGNORECASE)
        assert browser.get("/portal/backends").status_code == 200
        assert browser.post("/portal/session-links").status_code == 403
        own = {"origin": open_portal.url}
        assert browser.post("/portal/session-links", headers=own).status_code == 200
    assert open_portal.client.get(path).status_code == 403


def test_the_link_of_the_banner_signs_a_browser_in(start_portal: StartPortal) -> None:
    portal = start_portal()
    portal.await_log("/portal/session/")
    path = re.findall(r"(/portal/session/\S+)", portal.logs())[0]
    with httpx.Client(base_url=portal.url, trust_env=False) as browser:
        assert browser.get(path).status_code == 303
        assert browser.get("/portal/backends").status_code == 200


@pytest.mark.parametrize(
    "settings",
    [
        {"server": {"host": "0.0.0.0"}},
        {"server": {"host": "0.0.0.0"}, "auth": {"required": False, "api_key": KEY}},
    ],
)
def test_off_loopback_portal_does_not_start_without_a_required_key(
    settings: dict[str, Any],
) -> None:
    with pytest.raises(AssertionError, match="other machines can reach"):
        PortalProcess(**settings).close()


def test_a_stranger_learns_of_health_no_more_than_whether(keyed_portal: PortalProcess) -> None:
    stranger = keyed_portal.client.get("/health").json()
    known = keyed_portal.client.get("/health", headers={"authorization": f"Bearer {KEY}"}).json()
    assert (stranger["backends"], stranger["problems"]) == ([], [])
    assert stranger["status"] == known["status"] == "degraded"
    assert known["problems"]


def test_run_json_is_private_and_the_owner_token_is_not_logged(start_portal: StartPortal) -> None:
    portal = start_portal()
    path = portal.state_dir / "run.json"
    assert path.stat().st_mode & 0o777 == 0o600
    token = portal.run_json()["token"]
    portal.client.get("/portal/backends", headers={"authorization": f"Bearer {token}"})
    assert token not in portal.logs()
