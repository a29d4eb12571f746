"""Who may come in, decided from a request's head."""

from pathlib import Path
from typing import Any

import pytest

from portal.runtime.hosts.gate import (
    EVERYTHING,
    LOCAL,
    STRANGER,
    Gate,
    Head,
    Headers,
    check_media_type,
)
from portal.runtime.ops import schema
from portal.shared.contract import Caller, Scope
from portal.shared.errors import Forbidden, Unauthenticated, WrongMediaType

OWNER = "owner-token-of-this-start"
KEY = "a-static-key-of-the-settings"
ROUTER = "the-token-of-the-proxy"
PAGE = Caller("local", "page session", EVERYTHING)


def gate(**changes: Any) -> Gate:
    """Make a gate of settings that differ in what is given."""
    settings = schema.Settings(
        data_dir=Path("data"),
        state_dir=Path("state"),
        server=schema.Server(
            host=changes.pop("host", "127.0.0.1"), allowed_hosts=changes.pop("names", ())
        ),
        auth=schema.Auth(api_key=changes.pop("key", None), required=changes.pop("required", None)),
        router_token=changes.pop("router", None),
    )
    assert not changes
    return Gate(
        settings,
        owner_token=OWNER,
        session_caller=lambda token: PAGE if token == "good" else None,
    )


def admit(found: Gate, method: str = "GET", /, **headers: str) -> Head:
    """Admit a request with these headers, underscores read as hyphens."""
    sent = {"host": "127.0.0.1:8081", **{k.replace("_", "-"): v for k, v in headers.items()}}
    return found.admit(method, [(k.encode(), v.encode("latin-1")) for k, v in sent.items()])


def scopes(found: Gate, head: Head, path: str = "/v1/models") -> set[str]:
    """Name the scopes whose routes this head may call."""
    allowed = set()
    for scope in Scope:
        try:
            found.caller_for(head, scope, path)
        except (Forbidden, Unauthenticated):
            continue
        allowed.add(scope.value)
    return allowed


def test_keyless_loopback_chats_and_does_not_administer() -> None:
    found = gate()
    head = admit(found)
    assert found.caller_for(head, Scope.CHAT, "/") == LOCAL
    assert scopes(found, head) == {"public", "chat", "webhook"}


def test_an_unknown_bearer_counts_as_none_while_no_key_is_required() -> None:
    found = gate()
    head = admit(found, authorization="Bearer sk-anything")
    assert scopes(found, head) == {"public", "chat", "webhook"}


def test_the_owner_token_holds_every_scope() -> None:
    found = gate()
    assert scopes(found, admit(found, authorization=f"Bearer {OWNER}")) == {
        scope.value for scope in Scope
    }


def test_a_static_key_makes_a_key_required() -> None:
    found = gate(key=KEY)
    assert scopes(found, admit(found)) == {"public", "webhook"}
    assert scopes(found, admit(found, authorization="Bearer wrong")) == {"public", "webhook"}
    with_key = admit(found, authorization=f"bearer {KEY}")
    assert scopes(found, with_key) == {scope.value for scope in Scope}


def test_the_router_token_chats_and_no_more() -> None:
    found = gate(router=ROUTER)
    assert scopes(found, admit(found)) == {"public", "webhook"}
    head = admit(found, authorization=f"Bearer {ROUTER}")
    assert scopes(found, head) == {"public", "chat", "webhook"}


def test_a_missing_and_a_wrong_key_are_told_apart() -> None:
    found = gate(key=KEY)
    with pytest.raises(Unauthenticated, match="No key was sent"):
        found.caller_for(admit(found), Scope.CHAT, "/v1/models")
    wrong = admit(found, authorization="Bearer wr\xf6ng")
    with pytest.raises(Unauthenticated, match="not known here"):
        found.caller_for(wrong, Scope.CHAT, "/v1/models")


@pytest.mark.parametrize(
    "header", ["x_forwarded_for", "forwarded", "x_real_ip", "cf_connecting_ip", "via"]
)
def test_a_forwarding_header_requires_a_key_of_everything_but_liveness(header: str) -> None:
    found = gate()
    head = admit(found, **{header: "203.0.113.7"})
    assert scopes(found, head) == {"webhook"}
    assert found.caller_for(head, Scope.PUBLIC, "/health/live") == STRANGER
    with_key = admit(found, **{header: "203.0.113.7", "authorization": f"Bearer {OWNER}"})
    assert "admin" in scopes(found, with_key)


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://127.0.0.1:9999",
        "https://127.0.0.1:8081.evil.example",
        "file://",
        "http://127.0.0.1:notaport",
        "",
    ],
)
def test_a_foreign_origin_is_refused_even_with_a_key(origin: str) -> None:
    with pytest.raises(Forbidden, match="origin"):
        admit(gate(), origin=origin, authorization=f"Bearer {OWNER}")


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://127.0.0.1:8081", "127.0.0.1:8081"),
        ("http://localhost:8081", "localhost:8081"),
        ("http://[::1]:8081", "[::1]:8081"),
        ("http://LOCALHOST", "localhost"),
    ],
)
def test_the_pages_own_origin_is_admitted(origin: str, host: str) -> None:
    assert admit(gate(), origin=origin, host=host).caller is None


def test_a_cross_site_request_is_refused() -> None:
    with pytest.raises(Forbidden, match="cross-site"):
        admit(gate(), sec_fetch_site="cross-site")
    admit(gate(), sec_fetch_site="same-origin")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8081", "127.0.0.1.evil.example", "10.0.0.8", "[", "a b", "@"],
)
def test_a_foreign_host_is_refused_without_a_key(host: str) -> None:
    with pytest.raises(Forbidden):
        admit(gate(), host=host)
    assert admit(gate(), host=host, authorization=f"Bearer {OWNER}").caller is not None


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.8.8:1", "localhost:8081", "LocalHost", "[::1]:8081", "localhost."]
)
def test_loopback_hosts_are_admitted(host: str) -> None:
    assert admit(gate(), host=host).caller is None


def test_listed_and_bound_hosts_are_admitted() -> None:
    found = gate(host="192.168.1.5", names=("portal.home",), key=KEY)
    for host in ("portal.home", "Portal.Home:8081", "192.168.1.5:8081"):
        assert admit(found, host=host).caller is None


def test_bound_to_every_address_any_address_is_a_bound_one_and_a_name_is_not() -> None:
    found = gate(host="0.0.0.0", key=KEY)
    assert admit(found, host="10.1.2.3:8081").caller is None
    with pytest.raises(Forbidden):
        admit(found, host="rebound.example")


def test_a_request_without_host_is_refused() -> None:
    with pytest.raises(Forbidden, match="no Host"):
        gate().admit("GET", [])


def test_a_page_session_reads_and_changes_only_from_its_own_page() -> None:
    found = gate()
    assert admit(found, cookie="a=b; portal_session=good").caller == PAGE
    assert admit(found, cookie="portal_session=bad").caller is None
    with pytest.raises(Forbidden, match="no Origin"):
        admit(found, "POST", cookie="portal_session=good")
    own = {"origin": "http://127.0.0.1:8081", "cookie": "portal_session=good"}
    assert admit(found, "POST", **own).caller == PAGE


def test_a_basic_authorization_is_no_key() -> None:
    assert admit(gate(), authorization=f"Basic {OWNER}").caller is None


def test_auth_required_without_a_key_still_admits_the_owner() -> None:
    found = gate(required=True)
    assert scopes(found, admit(found)) == {"public", "webhook"}
    assert "admin" in scopes(found, admit(found, authorization=f"Bearer {OWNER}"))


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_browsers_body_must_be_json(kind: str) -> None:
    headers = {"origin": "http://127.0.0.1:8081", "content-length": "2", "content-type": kind}
    with pytest.raises(WrongMediaType):
        check_media_type("POST", headers)


def test_a_tools_body_may_have_any_type() -> None:
    check_media_type("POST", {"content-length": "2", "content-type": "text/plain"})
    check_media_type("GET", {"origin": "http://127.0.0.1:8081"})
    json = {"sec-fetch-mode": "cors", "content-length": "2"}
    check_media_type("POST", {**json, "content-type": "Application/JSON; charset=utf-8"})


def test_headers_are_text_in_lower_case_and_repeated_ones_are_joined() -> None:
    headers = Headers([(b"accept", b"a"), (b"x-name", b"J\xfcrgen"), (b"accept", b"b")])
    assert dict(headers) == {"accept": "a, b", "x-name": "J\xfcrgen"}
    assert (headers["accept"], headers.get("x-name"), len(headers)) == ("a, b", "J\xfcrgen", 2)
    assert (headers.get("host"), headers.get("host", "")) == (None, "")
    assert "accept" in headers
    assert "\u20ac" not in headers
    assert headers.get("\u20ac") is None
