"""Off loopback nobody gets in without a key, and Portal does not start without one."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from portal.runtime.ops import schema
from portal.runtime.ops.settings import Loaded, check_exposure, is_loopback, key_required, load
from portal.shared.errors import ConfigurationError

KEY = "Zk3-Qp9_vT7xLm2wRb5n"


def read(tmp_path: Path, environ: Mapping[str, str]) -> Loaded:
    return load(environ={"HOME": str(tmp_path), **environ}, cwd=tmp_path)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("[::1]", True),
        ("LocalHost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.2", False),
        ("localhost.example.org", False),
        ("127.0.0.1.example.org", False),
        ("128.0.0.1", False),
        ("", False),
    ],
)
def test_loopback_is_recognised(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("host", "required", "api_key", "router_token", "expected"),
    [
        ("127.0.0.1", None, None, None, False),
        ("127.0.0.1", None, KEY, None, True),
        ("127.0.0.1", False, KEY, None, False),
        ("127.0.0.1", False, None, "t", True),
        ("127.0.0.1", True, None, None, True),
        ("0.0.0.0", None, KEY, None, True),
        ("0.0.0.0", False, KEY, None, True),
    ],
)
def test_when_a_key_is_required(
    host: str,
    required: bool | None,
    api_key: str | None,
    router_token: str | None,
    expected: bool,
) -> None:
    settings = schema.Settings(
        data_dir=Path("/d"),
        state_dir=Path("/s"),
        router_token=router_token,
        server=schema.Server(host=host),
        auth=schema.Auth(api_key=api_key, required=required),
    )
    assert key_required(settings) is expected


def test_off_loopback_a_key_is_needed_and_the_way_out_is_named(tmp_path: Path) -> None:
    exposed = {"PORTAL_SERVER__HOST": "0.0.0.0"}
    with pytest.raises(ConfigurationError, match=r"PORTAL_AUTH__API_KEY.*127\.0\.0\.1"):
        read(tmp_path, exposed)
    with pytest.raises(ConfigurationError, match="ROUTER_TOKEN is \\*\\*\\*\\*"):
        read(tmp_path, exposed | {"ROUTER_TOKEN": "changeme"})
    with pytest.raises(ConfigurationError, match=r"auth\.required is false"):
        read(tmp_path, exposed | {"PORTAL_AUTH__API_KEY": KEY, "PORTAL_AUTH__REQUIRED": "0"})
    for name in ("PORTAL_AUTH__API_KEY", "ROUTER_TOKEN"):
        check_exposure(read(tmp_path, exposed | {name: KEY}).settings)
