"""The MCP fragments that ship: whatever they offer to a model is the user's files alone."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from portal.runtime.ops.settings import load
from tests.checkout import ROOT, shipped_files, shown

HOME_DATA = "${HOME}/.portal/data/"
FRAGMENTS = [
    shown(path)
    for path in shipped_files()
    if shown(path).startswith("mcp/") and path.suffix in (".yaml", ".yml", ".json")
]


def _servers(name: str) -> dict[str, Any]:
    servers: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))[
        "mcpServers"
    ]
    return servers


def test_the_librechat_fragment_ships() -> None:
    assert "mcp/core/librechat_mcp_fragment.yaml" in FRAGMENTS


@pytest.mark.parametrize("name", FRAGMENTS)
def test_the_filesystem_server_is_rooted_at_the_users_data_folder(name: str) -> None:
    arguments = _servers(name)["filesystem"]["args"]
    package = next(
        index for index, word in enumerate(arguments) if "server-filesystem" in str(word)
    )

    assert arguments[package + 1 :] == [HOME_DATA]


@pytest.mark.parametrize("name", FRAGMENTS)
def test_no_fragment_offers_tmp_or_the_state_directory(name: str) -> None:
    words = [
        str(word)
        for server in _servers(name).values()
        for word in (server.get("command", ""), *server.get("args", ()))
    ]

    assert [word for word in words if "/tmp" in word or ".portal/state" in word] == []


@pytest.mark.parametrize("name", FRAGMENTS)
def test_every_server_that_is_fetched_is_pinned_to_a_version(name: str) -> None:
    for server in _servers(name).values():
        if server.get("command") == "npx":
            package = next(word for word in server["args"] if not word.startswith("-"))
            assert package.removeprefix("@").partition("@")[2], f"{package} has no version"


def test_the_root_of_the_fragment_is_the_default_data_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    settings = load(environ={"HOME": str(tmp_path)}, cwd=tmp_path).settings

    assert str(settings.data_dir) + "/" == HOME_DATA.replace("${HOME}", str(tmp_path))
    assert not settings.state_dir.is_relative_to(settings.data_dir)
