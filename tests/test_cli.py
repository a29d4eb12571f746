"""The command `portal` as a program: usage, output for people and programs, errors in words."""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from portal.runtime import cli
from tests.conftest import StartPortal
from tests.fakes.running import clean_environment
from tests.harness import TRACEBACK, Fake, run_cli
from tests.on_terminal import Command
from tests.test_cli_chat import write_config

HEAVY = ("litestar", "httpx", "uvicorn", "structlog", "dynaconf", "telegram", "slack_bolt")
COMMANDS = tuple(module.NAME for module in cli.COMMANDS)


def test_the_version_is_that_of_the_installed_package() -> None:
    version = importlib.metadata.version("portal-local")
    assert run_cli("version").stdout == f"portal {version}\n"
    assert json.loads(run_cli("version", "--json").stdout)["version"] == version


@pytest.mark.parametrize("words", [["version"], ["--help"], ["up", "--help"]])
def test_a_command_that_does_nothing_heavy_loads_nothing_heavy(words: list[str]) -> None:
    program = (
        "import sys, contextlib\n"
        "from portal.runtime.cli import main\n"
        "with contextlib.suppress(SystemExit):\n"
        f"    main({words!r})\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8")
    assert done.stderr == "[]\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    assert f"portal {command}" in run_cli(command, "--help").stdout
    assert command in run_cli("--help").stdout


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nonesuch"],
        ["up", "--prot", "1"],
        ["up", "--port", "many"],
        ["config"],
        ["config", "improve"],
        ["models", "improve"],
        ["models", "show"],
        ["models", "pull"],
        ["models", "remove"],
        ["backends", "improve"],
        ["backends", "reset", "a", "b", "c"],
        ["personas", "show"],
        ["route", "--strategy", "speed"],
    ],
)
def test_wrong_usage_is_status_2_and_told_on_stderr(words: list[str]) -> None:
    done = run_cli(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "usage: portal" in done.stderr
    assert TRACEBACK not in done.stderr


def test_functions_are_listed_without_a_server() -> None:
    listed = json.loads(run_cli("functions", "--json").stdout)["data"]
    chat = next(each for each in listed if each["name"] == "openai.chat_completions")
    assert chat["trigger"] == "route"
    assert chat["detail"] == "POST /v1/chat/completions"
    assert chat["scope"] == "chat"
    lines = run_cli("functions").stdout.splitlines()
    assert len(lines) == len(listed) + 1


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "portal.runtime", "functions", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=clean_environment(tmp_path),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait(20) == 1


@pytest.mark.parametrize(
    "command",
    ["models", "backends", "personas", "status", "down", "up", "chat", "route", "compare"],
)
def test_wrong_settings_are_told_a_line_each(tmp_path: Path, command: str) -> None:
    (tmp_path / "portal.toml").write_text('[server]\nport = "many"\nhots = "x"\n', "utf-8")
    words = [command, "Hello."] if command in ("chat", "route") else [command]
    words += ["Hello.", "--models", "auto"] if command == "compare" else []
    done = run_cli(*words, folder=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert any("server.port" in line and "many" in line for line in lines)
    assert any("hots" in line and "server.host" in line for line in lines)


def test_config_check_tells_faults_and_warnings(tmp_path: Path) -> None:
    done = run_cli("config", "check", folder=tmp_path, env={"PORTAL_COLOUR": "red"})
    assert done.returncode == 0
    assert "valid" in done.stdout
    assert "PORTAL_COLOUR" in done.stderr
    done = run_cli("config", "check", "--json", folder=tmp_path, env={"PORTAL_COLOUR": "red"})
    found = json.loads(done.stdout)
    assert found["ok"] is True
    assert "PORTAL_COLOUR" in found["warnings"][0]
    (tmp_path / "portal.toml").write_text("[server\n", "utf-8")
    done = run_cli("config", "check", folder=tmp_path)
    assert done.returncode == 1
    assert "line 1" in done.stderr
    done = run_cli("config", "check", "--json", folder=tmp_path)
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["ok"] is False
    assert "line 1" in found["faults"][0]


def test_a_named_configuration_that_is_missing_is_told(tmp_path: Path) -> None:
    done = run_cli("config", "check", "--config", "nowhere.toml", folder=tmp_path)
    assert done.returncode == 1
    assert "nowhere.toml" in done.stderr


def test_config_show_masks_secrets_in_text_and_json(tmp_path: Path) -> None:
    key = "0123456789abcdefSECRET"
    env = {"PORTAL_AUTH__API_KEY": key, "PORTAL_SERVER__PORT": "8123"}
    text = run_cli("config", "show", folder=tmp_path, env=env).stdout
    found = json.loads(run_cli("config", "show", "--json", folder=tmp_path, env=env).stdout)
    assert key not in text
    assert "PORTAL_SERVER__PORT" in text
    assert found["settings"]["auth"]["api_key"] == "****"
    assert found["settings"]["server"]["port"] == 8123
    assert found["places"]["server.port"] == "PORTAL_SERVER__PORT"


def test_config_schema_describes_every_section() -> None:
    found = json.loads(run_cli("config", "schema").stdout)
    assert {"Server", "Auth", "Backend", "Embedded"} <= set(found["$defs"])


def test_models_are_the_same_with_and_without_a_running_portal(
    start_portal: StartPortal, ollama: Fake, tmp_path: Path
) -> None:
    portal = start_portal(backends=[ollama])
    write_config(tmp_path, backends=[ollama])
    found = [
        {model["id"] for model in json.loads(done.stdout)["data"]}
        for done in (
            run_cli("models", "--json", portal=portal),
            run_cli("models", "list", "--json", folder=tmp_path),
        )
    ]
    assert found[0] == found[1]
    assert {"auto", "ollama/qwen2.5:7b"} <= found[0]
    assert "ollama/qwen2.5:7b" in run_cli("models", portal=portal).stdout


def test_a_model_is_shown_by_its_id_or_its_own_name(tmp_path: Path, ollama: Fake) -> None:
    write_config(tmp_path, backends=[ollama])
    for name in ("ollama/qwen2.5:7b", "qwen2.5:7b"):
        found = json.loads(run_cli("models", "show", name, "--json", folder=tmp_path).stdout)
        assert found["id"] == "ollama/qwen2.5:7b"
    assert "parameters" in run_cli("models", "show", "qwen2.5:7b", folder=tmp_path).stdout
    done = run_cli("models", "show", "ollama/qwen2.5:9b", folder=tmp_path)
    assert done.returncode == 1
    assert "Did you mean 'ollama/qwen2.5:7b'?" in done.stderr


def test_backends_are_listed_with_and_without_a_running_portal(
    start_portal: StartPortal, ollama: Fake, tmp_path: Path
) -> None:
    portal = start_portal(backends=[ollama])
    write_config(tmp_path, backends=[ollama])
    for done in (
        run_cli("backends", "list", "--json", portal=portal),
        run_cli("backends", "--json", folder=tmp_path),
    ):
        (found, *_) = json.loads(done.stdout)["data"]
        assert (found["name"], found["kind"], found["state"]) == ("ollama", "ollama", "live")
        assert found["models"] == 4
    table = run_cli("backends", folder=tmp_path).stdout
    assert ollama.url in table


def test_listing_models_leaves_nothing_in_the_state_directory(tmp_path: Path, ollama: Fake) -> None:
    write_config(tmp_path, backends=[ollama])
    assert run_cli("models", folder=tmp_path).returncode == 0
    assert not (tmp_path / "state").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "portal.toml").write_text("", "utf-8")
    (tmp_path / "portal.toml").chmod(0)
    done = run_cli("config", "check", folder=tmp_path)
    assert done.returncode == 1
    assert TRACEBACK not in done.stderr


def test_colour_is_for_terminals_alone(tmp_path: Path) -> None:
    env = write_config(tmp_path)
    (tmp_path / "portal.toml").write_text("[server\n", "utf-8")
    with Command("config", "check", env=env, folder=tmp_path, terminal=True) as command:
        assert command.wait() == 1
    assert "\x1b[31m" in command.output
    with Command("config", "check", env=env, folder=tmp_path) as command:
        assert command.wait() == 1
    assert "\x1b[" not in command.output
