"""Where settings come from, which source wins, and what their values become."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from portal.runtime.ops import schema
from portal.runtime.ops.settings import Loaded, load

KEY = "Zk3-Qp9_vT7xLm2wRb5n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def read(cwd: Path, home: Path, environ: Mapping[str, str] | None = None) -> Loaded:
    return load(environ={"HOME": str(home), **(environ or {})}, cwd=cwd)


def test_without_any_source_every_setting_has_its_default(cwd: Path, home: Path) -> None:
    loaded = read(cwd, home)
    assert loaded.settings == schema.Settings(
        data_dir=home / ".portal" / "data", state_dir=home / ".portal" / "state"
    )
    assert loaded.path is None
    assert loaded.warnings == ()
    assert set(loaded.places.values()) == {"default"}


def test_each_source_wins_over_the_weaker_ones(cwd: Path, home: Path) -> None:
    (cwd / "portal.toml").write_text("[server]\nport = 1\n", encoding="utf-8")
    (cwd / ".env").write_text("", encoding="utf-8")
    assert read(cwd, home).settings.server.port == 1
    (cwd / ".env").write_text("PORTAL_SERVER__PORT=2\n", encoding="utf-8")
    loaded = read(cwd, home)
    assert loaded.settings.server.port == 2
    assert loaded.places["server.port"] == f"PORTAL_SERVER__PORT in {cwd / '.env'}"
    loaded = read(cwd, home, {"PORTAL_SERVER__PORT": "3"})
    assert loaded.settings.server.port == 3
    assert loaded.places["server.port"] == "PORTAL_SERVER__PORT"
    loaded = load(
        environ={"HOME": str(home), "PORTAL_SERVER__PORT": "3"},
        cwd=cwd,
        overrides={"server.port": 4, "server.host": None},
    )
    assert loaded.settings.server.port == 4
    assert loaded.places["server.port"] == "command line"
    assert loaded.settings.server.host == "127.0.0.1"


def test_sources_are_merged_setting_by_setting(cwd: Path, home: Path) -> None:
    (cwd / "portal.toml").write_text(
        '[server]\nport = 1\nprobe = false\n[workspaces.auto]\nmodel = "a"\nsystem = "s"\n',
        encoding="utf-8",
    )
    environ = {"PORTAL_SERVER__PORT": "2", "PORTAL_WORKSPACES__AUTO__MODEL": "b"}
    settings = read(cwd, home, environ).settings
    assert (settings.server.port, settings.server.probe) == (2, False)
    assert settings.workspaces == {"auto": schema.Workspace(model="b", system="s")}


def test_the_file_is_looked_for_here_and_then_at_home(cwd: Path, home: Path) -> None:
    (home / ".portal").mkdir()
    at_home = home / ".portal" / "portal.toml"
    at_home.write_text("server.port = 1\n", encoding="utf-8")
    assert read(cwd, home).path == at_home
    here = cwd / "portal.toml"
    here.write_text("server.port = 2\n", encoding="utf-8")
    assert read(cwd, home).path == here
    named = cwd / "named.toml"
    named.write_text("server.port = 3\n", encoding="utf-8")
    assert read(cwd, home, {"PORTAL_CONFIG": "named.toml"}).path == named
    other = cwd / "other.toml"
    other.write_text("server.port = 4\n", encoding="utf-8")
    environ = {"HOME": str(home), "PORTAL_CONFIG": "named.toml"}
    loaded = load(Path("other.toml"), environ=environ, cwd=cwd)
    assert (loaded.path, loaded.settings.server.port) == (other, 4)
    assert loaded.places["server.port"] == str(other)


def test_a_dotenv_may_name_the_configuration_file(cwd: Path, home: Path) -> None:
    (cwd / ".env").write_text("PORTAL_CONFIG=named.toml\n", encoding="utf-8")
    (cwd / "named.toml").write_text("server.port = 3\n", encoding="utf-8")
    assert read(cwd, home).settings.server.port == 3


def test_the_dotenv_beside_the_file_counts_when_there_is_none_here(cwd: Path, home: Path) -> None:
    (home / ".portal").mkdir()
    (home / ".portal" / "portal.toml").write_text("", encoding="utf-8")
    (home / ".portal" / ".env").write_text("PORTAL_SERVER__PORT=5\n", encoding="utf-8")
    assert read(cwd, home).settings.server.port == 5
    (cwd / ".env").write_text("OTHER=1\n", encoding="utf-8")
    assert read(cwd, home).settings.server.port == 8081


def test_a_directory_called_dotenv_is_no_settings_file(cwd: Path, home: Path) -> None:
    (cwd / ".env").mkdir()
    assert read(cwd, home).warnings == ()


def test_a_dotenv_line_that_makes_no_sense_is_a_warning(cwd: Path, home: Path) -> None:
    (cwd / ".env").write_text("# all of it\n\nnot a = setting\nROUTER_TOKEN=t\n", encoding="utf-8")
    loaded = read(cwd, home)
    assert loaded.warnings == (".env: line 3 is no NAME=value and was passed over",)
    assert loaded.settings.router_token == "t"


@pytest.mark.parametrize(
    "text",
    [
        "123",
        "true",
        "null",
        "1.5",
        "[1]",
        "@format{env[HOME]}",
        "@json",
        "@int",
        "@none",
        "@del",
        "@merge",
        "{{env.HOME}}",
        "${HOME}",
        "$HOME",
        "dynaconf_merge",
        "'quoted'",
        '"quoted"',
        "a#b",
        "back\\slash",
    ],
)
def test_secrets_and_texts_arrive_as_they_were_typed(cwd: Path, home: Path, text: str) -> None:
    environ = {
        "ROUTER_TOKEN": text,
        "PORTAL_WORKSPACES__AUTO__SYSTEM": text,
        "PORTAL_WORKSPACES__AUTO__FALLBACK": f'["{text}"]'
        if "\\" not in text and '"' not in text
        else text,
    }
    by_variable = read(cwd, home, environ).settings
    assert by_variable.router_token == text
    assert by_variable.workspaces["auto"].system == text
    assert by_variable.workspaces["auto"].fallback == (text,)
    if "'" in text:
        return
    (cwd / "portal.toml").write_text(
        f"router_token = '{text}'\n[workspaces.auto]\nsystem = '{text}'\nfallback = ['{text}']\n",
        encoding="utf-8",
    )
    assert read(cwd, home).settings == by_variable
    (cwd / "portal.toml").unlink()
    (cwd / ".env").write_text(
        f"ROUTER_TOKEN='{text.replace(chr(92), chr(92) * 2)}'\n", encoding="utf-8"
    )
    assert read(cwd, home).settings.router_token == text


def test_markers_of_dynaconf_mean_nothing_in_a_file(cwd: Path, home: Path) -> None:
    (cwd / "portal.toml").write_text(
        '[[backends]]\nname = "dynaconf_merge"\nkind = "ollama"\nurl = "http://one"\n'
        "[workspaces.dynaconf_merge]\n"
        'model = "@format {this.ROUTER_TOKEN}"\nfallback = ["dynaconf_merge", "@insert 0 x"]\n',
        encoding="utf-8",
    )
    settings = read(
        cwd, home, {"PORTAL_WORKSPACES__DYNACONF_MERGE__SYSTEM": "@jinja {{ 1 }}"}
    ).settings
    assert settings.backends[0].name == "dynaconf_merge"
    assert settings.workspaces["dynaconf_merge"] == schema.Workspace(
        model="@format {this.ROUTER_TOKEN}",
        fallback=("dynaconf_merge", "@insert 0 x"),
        system="@jinja {{ 1 }}",
    )


def test_variables_meant_for_dynaconf_change_nothing(
    cwd: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cwd / "evil.toml").write_text("router_token = 'evil'\n[server]\nport = 1\n", encoding="utf-8")
    for name in ("SETTINGS_FILE", "SETTINGS_FILES", "INCLUDES", "PRELOAD", "SECRETS"):
        monkeypatch.setenv(f"{name}_FOR_DYNACONF", str(cwd / "evil.toml"))
    monkeypatch.setenv("MERGE_ENABLED_FOR_DYNACONF", "true")
    monkeypatch.setenv("INDEX_SEPARATOR_FOR_DYNACONF", "___")
    monkeypatch.setenv("DYNACONF_ROUTER_TOKEN", "evil")
    (cwd / "portal.toml").write_text("[workspaces.a___0]\nfallback = ['x']\n", encoding="utf-8")
    settings = read(cwd, home, {"PORTAL_WORKSPACES__A___0__FALLBACK": "y"}).settings
    assert settings.router_token is None
    assert settings.server.port == 8081
    assert settings.workspaces["a___0"].fallback == ("y",)


def test_lists_are_separated_by_commas_or_json(cwd: Path, home: Path) -> None:
    for text in ("a.lan, b.lan ,", '["a.lan", "b.lan"]'):
        settings = read(cwd, home, {"PORTAL_SERVER__ALLOWED_HOSTS": text}).settings
        assert settings.server.allowed_hosts == ("a.lan", "b.lan")


def test_lists_of_words_and_of_tables_come_by_variable_as_by_file(cwd: Path, home: Path) -> None:
    (cwd / "portal.toml").write_text(
        '[routing]\nstrategy = "quality"\n'
        '[[models]]\nname = "*/qwen*"\ncapabilities = ["code", "math"]\nspeed = "fast"\n'
        '[[rules]]\nname = "sql"\npattern = \'\\bselect\\b\'\ntarget = "auto-coding"\n'
        '[workspaces.auto-vision]\nstrategy = "speed"\nrequire = ["vision"]\n',
        encoding="utf-8",
    )
    by_file = read(cwd, home).settings
    assert by_file.models == (
        schema.ModelFacts(name="*/qwen*", capabilities=("code", "math"), speed="fast"),
    )
    assert by_file.rules == (schema.Rule(name="sql", pattern=r"\bselect\b", target="auto-coding"),)
    assert by_file.workspaces["auto-vision"].require == ("vision",)
    (cwd / "portal.toml").unlink()
    environ = {
        "PORTAL_ROUTING__STRATEGY": "quality",
        "PORTAL_MODELS": '[{"name": "*/qwen*", "capabilities": ["code", "math"], "speed": "fast"}]',
        "PORTAL_RULES": r'[{"name": "sql", "pattern": "\\bselect\\b", "target": "auto-coding"}]',
        "PORTAL_WORKSPACES__AUTO_VISION__STRATEGY": "speed",
        "PORTAL_WORKSPACES__AUTO_VISION__REQUIRE": "vision",
    }
    by_variable = read(cwd, home, environ)
    assert by_variable.settings == by_file
    assert by_variable.places["models[*/qwen*].capabilities"] == "PORTAL_MODELS"
    assert by_variable.places["rules[sql].priority"] == "default"


def test_backends_from_a_variable_replace_those_of_the_file(cwd: Path, home: Path) -> None:
    (cwd / "portal.toml").write_text(
        '[[backends]]\nname = "old"\nkind = "ollama"\nurl = "http://old"\n', encoding="utf-8"
    )
    value = '[{"name": "new", "kind": "openai", "url": "https://new/v1", "api_key": "true"}]'
    loaded = read(cwd, home, {"PORTAL_BACKENDS": value})
    assert loaded.settings.backends == (
        schema.Backend(name="new", kind="openai", url="https://new/v1", api_key="true"),
    )
    assert loaded.places["backends[new].url"] == "PORTAL_BACKENDS"
    assert loaded.places["backends[new].total_seconds"] == "default"


def test_a_workspace_variable_finds_the_id_that_the_file_spells(cwd: Path, home: Path) -> None:
    (cwd / "portal.toml").write_text("[workspaces.my_flow]\n", encoding="utf-8")
    settings = read(
        cwd,
        home,
        {
            "PORTAL_WORKSPACES__MY_FLOW__MODEL": "a",
            "PORTAL_WORKSPACES__AUTO_CODING__MODEL": "b",
            "PORTAL_WORKSPACES__AUTO_CODING__TEMPERATURE": "0.5",
            "PORTAL_WORKSPACES": '{"auto-coding": {"model": "x", "max_tokens": 5}}',
        },
    ).settings
    assert settings.workspaces == {
        "my_flow": schema.Workspace(model="a"),
        "auto-coding": schema.Workspace(model="b", temperature=0.5, max_tokens=5),
    }


def test_the_longer_name_of_the_router_token_wins(cwd: Path, home: Path) -> None:
    environ = {"ROUTER_TOKEN": "old", "PORTAL_ROUTER_TOKEN": "new"}
    assert read(cwd, home, environ).settings.router_token == "new"
    assert read(cwd, home, {"ROUTER_TOKEN": "old"}).settings.router_token == "old"


def test_empty_means_unset(cwd: Path, home: Path) -> None:
    (cwd / "portal.toml").write_text(
        'router_token = ""\n[auth]\napi_key = ""\nrequired = ""\n', encoding="utf-8"
    )
    environ = {"PORTAL_SERVER__PORT": "", "PORTAL_AUTH__API_KEY": " ", "PORTAL_CONFIG": ""}
    settings = read(cwd, home, environ).settings
    assert settings.auth == schema.Auth()
    assert settings.router_token is None
    assert settings.server.port == 8081


def test_paths_start_at_home_at_their_file_or_at_the_working_directory(
    cwd: Path, home: Path, tmp_path: Path
) -> None:
    config = tmp_path / "etc" / "portal.toml"
    config.parent.mkdir()
    config.write_text('data_dir = "files"\n[embedded]\nmodel_path = "~/a.gguf"\n', encoding="utf-8")
    environ = {"HOME": str(home), "PORTAL_STATE_DIR": "state"}
    settings = load(config, environ=environ, cwd=cwd).settings
    assert settings.data_dir == config.parent / "files"
    assert settings.state_dir == cwd / "state"
    assert settings.embedded.model_path == home / "a.gguf"


def test_state_lies_beside_the_data_directory(cwd: Path, home: Path) -> None:
    settings = read(cwd, home, {"PORTAL_DATA_DIR": "/srv/portal/files"}).settings
    assert settings.state_dir == Path("/srv/portal/state")


def test_unknown_variables_are_warnings_without_their_values(cwd: Path, home: Path) -> None:
    environ = {
        "PORTAL_PORT": "tcp://10.0.0.7:8081",
        "PORTAL_AUTH_API_KEY": KEY,
        "PORTAL_WORKSPACES____MODEL": "m",
        "PORTALS": "x",
    }
    warnings = read(cwd, home, environ).warnings
    assert warnings == (
        "unknown variable PORTAL_AUTH_API_KEY; did you mean PORTAL_AUTH__API_KEY?",
        "unknown variable PORTAL_PORT",
        "unknown variable PORTAL_WORKSPACES____MODEL",
    )


def test_a_required_key_that_nobody_has_is_a_warning(cwd: Path, home: Path) -> None:
    environ = {"PORTAL_AUTH__REQUIRED": "true"}
    assert "no key is set" in read(cwd, home, environ).warnings[0]
    assert read(cwd, home, environ | {"PORTAL_AUTH__API_KEY": KEY}).warnings == ()


def test_no_secret_is_in_the_text_of_the_settings(cwd: Path, home: Path) -> None:
    backends = f'[{{"name": "a", "kind": "openai", "url": "http://a", "api_key": "{KEY}1"}}]'
    environ = {
        "PORTAL_AUTH__API_KEY": f"{KEY}2",
        "ROUTER_TOKEN": f"{KEY}3",
        "PORTAL_BACKENDS": backends,
    }
    loaded = read(cwd, home, environ)
    assert loaded.settings.backends[0].api_key == f"{KEY}1"
    assert KEY not in repr(loaded)
    assert "api_key=None" in repr(read(cwd, home))


def test_importing_the_settings_loads_no_dynaconf() -> None:
    code = "import sys, portal.runtime.ops.settings; sys.exit('dynaconf' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
