"""Models are pulled, removed, loaded and unloaded over HTTP and from the command line."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import StartFake, StartPortal
from tests.fakes.asking import events
from tests.harness import TRACEBACK, Fake, PortalProcess, run_cli
from tests.on_terminal import Command
from tests.test_cli_chat import write_config

PULL, LOAD, UNLOAD = (f"/portal/models/{verb}" for verb in ("pull", "load", "unload"))
QUIET = {"discover_seconds": 3600}
"""Whatever is known after a change was looked for because of the change."""


class Owner:
    """Calls a Portal with the owner's token."""

    def __init__(self, portal: PortalProcess) -> None:
        self._portal = portal
        self._headers = {"authorization": f"Bearer {portal.run_json()['token']}"}

    def __call__(self, path: str, model: str | None = None, method: str = "POST") -> httpx.Response:
        body = None if model is None else {"model": model}
        return self._portal.client.request(method, path, json=body, headers=self._headers)

    def refused(self, path: str, model: str) -> tuple[int, str, str]:
        """Ask for what is refused; give status, code and message."""
        answer = self(path, model)
        error = answer.json()["error"]
        return answer.status_code, error["code"], error["message"]

    def model(self, id_: str) -> dict[str, Any]:
        """Give what is known of a model."""
        found: dict[str, Any] = self(f"/v1/models/{id_}", method="GET").json()["portal"]
        return found


def test_only_the_owner_manages_models(start_portal: StartPortal, ollama: Fake) -> None:
    portal = start_portal(backends=[ollama])
    for method, path in (
        ("POST", PULL),
        ("POST", LOAD),
        ("POST", UNLOAD),
        ("DELETE", "/portal/models/ollama/llava:7b"),
        ("POST", "/portal/backends/reset"),
    ):
        answer = portal.client.request(method, path, json={"model": "llava:7b"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden"), path
    assert {row.method for row in ollama.requests()} <= {"GET", "POST"}
    assert ollama.state()["loads"] == {}


def test_a_pull_tells_its_progress_and_the_model_is_there_at_once(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(server=QUIET, backends=[ollama])
    answer = Owner(portal)(PULL, "phi4")
    assert answer.headers["content-type"] == "text/event-stream"
    steps = events(answer)
    assert steps[0] == {"status": "pulling manifest"}
    assert steps[-1] == {"status": "success"}
    (whole,) = [step for step in steps if step.get("completed") == 4_683_087_332]
    assert whole["total"] == whole["completed"]
    assert whole["digest"].startswith("sha256:")
    body = {"model": "phi4", "messages": [{"role": "user", "content": "hi"}]}
    assert portal.client.post("/v1/chat/completions", json=body).status_code == 200


def test_pulling_what_is_there_already_is_no_fault(start_portal: StartPortal, ollama: Fake) -> None:
    portal = start_portal(backends=[ollama])
    assert events(Owner(portal)(PULL, "ollama/llava:7b"))[-1] == {"status": "success"}


def test_a_pull_goes_to_the_backend_that_is_named_or_the_only_one_that_can(
    start_portal: StartPortal, ollama: Fake, openai_server: Fake, start_fake: StartFake
) -> None:
    other = start_fake("ollama")
    portal = start_portal(backends=[openai_server.backend("vllm"), ollama, other.backend("other")])
    owner = Owner(portal)
    status, _, message = owner.refused(PULL, "phi4")
    assert status == 400
    assert "ollama/phi4, other/phi4" in message
    assert events(owner(PULL, "other/phi4"))[-1] == {"status": "success"}
    assert len(other.requests("/api/pull")) == 1
    status, code, message = owner.refused(PULL, "vllm/phi4")
    assert (status, code) == (400, "unsupported_field")
    assert "vllm" in message


def test_a_pull_without_an_ollama_says_what_is_missing(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    portal = start_portal(backends=[openai_server])
    status, code, message = Owner(portal).refused(PULL, "phi4")
    assert (status, code) == (404, "model_not_found")
    assert "No Ollama is live" in message


def test_a_name_of_the_library_with_slashes_is_no_backends_name(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(server=QUIET, backends=[ollama])
    owner, name = Owner(portal), "hf.co/bartowski/Qwen2.5:Q4_K_M"
    assert events(owner(PULL, name))[-1] == {"status": "success"}
    assert ollama.requests("/api/pull")[0].json["model"] == name
    assert owner(f"/portal/models/ollama/{name}", method="DELETE").status_code == 200
    assert ollama.requests("/api/delete")[0].json == {"model": name}


@pytest.mark.parametrize(
    ("script", "code", "told"),
    [
        ({"stall_after": 3}, "backend_timeout", "stands still"),
        ({"error_after": 2, "error": "no space left on device"}, "backend_refused", "no space"),
        ({"cut_after": 2}, "backend_broken", "no whole answer"),
    ],
)
def test_a_pull_that_fails_after_it_began_says_so_in_its_stream(
    start_portal: StartPortal, ollama: Fake, script: dict[str, Any], code: str, told: str
) -> None:
    ollama.script(path="/api/pull", **script)
    portal = start_portal(backends=[ollama.backend(stall_seconds=0.3)])
    answer = Owner(portal)(PULL, "phi4")
    assert answer.status_code == 200
    last = json.loads(answer.text.rstrip().rpartition("data: ")[2])["error"]
    assert last["code"] == code
    assert told in last["message"]


def test_a_pull_that_fails_at_once_is_an_ordinary_error(
    start_portal: StartPortal, ollama: Fake
) -> None:
    words = "pull model manifest: file does not exist"
    ollama.script(path="/api/pull", error_after=0, error=words)
    portal = start_portal(backends=[ollama])
    status, _, message = Owner(portal).refused(PULL, "fi4")
    assert status == 404
    assert "Is 'fi4' the name of a model in its library?" in message


def test_whoever_leaves_ends_the_download(start_portal: StartPortal, ollama: Fake) -> None:
    ollama.script(path="/api/pull", manual=True)
    ollama.step(2)
    portal = start_portal(backends=[ollama])
    headers = {"authorization": f"Bearer {portal.run_json()['token']}"}
    with (
        httpx.Client(base_url=portal.url, trust_env=False, timeout=30, headers=headers) as client,
        client.stream("POST", PULL, json={"model": "phi4"}) as answer,
    ):
        assert b"pulling manifest" in next(answer.iter_bytes())
    ollama.wait("closed", path="/api/pull")


def test_a_removed_model_is_gone_at_once_and_said_to_be(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(server=QUIET, backends=[ollama])
    owner = Owner(portal)
    answer = owner("/portal/models/ollama/llava:7b", method="DELETE")
    assert answer.json() == {"model": "ollama/llava:7b"}
    assert owner.model("ollama/llava:7b")["gone"] is True
    assert owner.model("ollama/llava:7b")["live"] is False
    again = owner("/portal/models/llava:7b", method="DELETE")
    assert again.status_code == 404
    assert "llava" in again.json()["error"]["message"]
    unknown = owner("/portal/models/nope", method="DELETE")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")


def test_a_loaded_model_is_not_loaded_anew_by_the_first_question(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(server=QUIET, backends=[ollama])
    owner = Owner(portal)
    assert owner(LOAD, "qwen2.5:7b").json() == {"model": "qwen2.5:7b"}
    assert owner.model("ollama/qwen2.5:7b")["loaded"] is True
    for model in ("ollama/qwen2.5:7b", "auto-fast"):
        text = "@model:qwen2.5:7b hi" if model == "auto-fast" else "hi"
        body = {"model": model, "messages": [{"role": "user", "content": text}]}
        assert portal.client.post("/v1/chat/completions", json=body).status_code == 200
    assert ollama.state()["loads"] == {"qwen2.5:7b": 1}
    assert owner(UNLOAD, "ollama/qwen2.5:7b").status_code == 200
    assert ollama.state()["loaded"] == {}
    assert owner.model("ollama/qwen2.5:7b")["loaded"] is False


def test_a_model_is_loaded_alike_by_each_of_its_names(
    start_portal: StartPortal, ollama: Fake
) -> None:
    ollama.models({"name": "mine:latest"})
    portal = start_portal(server=QUIET, backends=[ollama])
    owner = Owner(portal)
    for name in ("mine", "mine:latest", "ollama/mine", "ollama/mine:latest"):
        assert owner(LOAD, name).status_code == 200
    assert ollama.state()["loads"] == {"mine:latest": 1}


def test_lm_studio_loads_and_unloads_and_cannot_pull(
    start_portal: StartPortal, start_fake: StartFake
) -> None:
    studio = start_fake("openai_compatible", "--flavour", "lmstudio")
    portal = start_portal(server=QUIET, backends=[studio.backend("studio")])
    owner = Owner(portal)
    assert owner(LOAD, "qwen2.5-7b-instruct").status_code == 200
    assert owner.model("studio/qwen2.5-7b-instruct")["loaded"] is True
    assert owner(UNLOAD, "qwen2.5-7b-instruct").status_code == 200
    assert studio.state()["loaded"] == {}
    status, code, message = owner.refused(PULL, "studio/phi4")
    assert (status, code) == (400, "unsupported_field")
    assert "LM Studio" in message


@pytest.mark.parametrize("path", [LOAD, UNLOAD])
def test_what_cannot_be_loaded_says_why(
    start_portal: StartPortal, ollama: Fake, openai_server: Fake, path: str
) -> None:
    portal = start_portal(backends=[ollama, openai_server.backend("vllm")])
    owner = Owner(portal)
    assert owner.refused(path, "nope")[:2] == (404, "model_not_found")
    for name in ("auto-coding", "persona/tutor"):
        status, _, message = owner.refused(path, name)
        assert status == 400
        assert "workspace" in message
    status, code, message = owner.refused(path, "vllm/Qwen/Qwen2.5-7B-Instruct")
    assert (status, code) == (400, "unsupported_field")
    assert "vllm serve" in message


@pytest.fixture(params=["running", "alone"])
def at(
    request: pytest.FixtureRequest, start_portal: StartPortal, ollama: Fake, tmp_path: Path
) -> dict[str, Any]:
    """Run a command beside a running Portal, and without one."""
    if request.param == "running":
        return {"portal": start_portal(server=QUIET, backends=[ollama])}
    write_config(tmp_path, backends=[ollama])
    return {"folder": tmp_path}


def test_the_command_pulls_loads_unloads_and_removes(at: dict[str, Any], ollama: Fake) -> None:
    done = run_cli("models", "pull", "phi4", **at)
    lines = done.stdout.splitlines()
    assert (done.returncode, lines[0], lines[-1]) == (0, "pulling manifest", "phi4 is there.")
    assert any("50 %  2.34 of 4.68 GB" in line for line in lines)
    assert "\x1b" not in done.stdout
    assert run_cli("models", "load", "phi4", **at).stdout == "phi4 is loaded.\n"
    assert list(ollama.state()["loaded"]) == ["phi4:latest"]
    assert run_cli("models", "unload", "phi4", **at).stdout == "phi4 is unloaded.\n"
    assert ollama.state()["loaded"] == {}
    done = run_cli("models", "remove", "ollama/phi4:latest", "--json", **at)
    assert json.loads(done.stdout) == {"model": "ollama/phi4:latest", "done": "removed"}
    done = run_cli("models", "remove", "ollama/phi4:latest", **at)
    assert (done.returncode, done.stdout) == (1, "")
    assert "not found" in done.stderr


def test_the_command_tells_a_failed_pull_and_programs_every_step(
    at: dict[str, Any], ollama: Fake
) -> None:
    steps = [
        json.loads(line)
        for line in run_cli("models", "pull", "phi4", "--json", **at).stdout.splitlines()
    ]
    assert steps[0] == {"status": "pulling manifest"}
    assert steps[-1] == {"status": "success"}
    ollama.script(path="/api/pull", error_after=2, error="no space left on device")
    done = run_cli("models", "pull", "phi4", **at)
    assert done.returncode == 1
    assert "is there" not in done.stdout
    assert "no space left on device" in done.stderr
    assert TRACEBACK not in done.stderr


@pytest.mark.parametrize("running", [True, False])
def test_ctrl_c_ends_a_download_that_is_drawn_as_a_bar(
    start_portal: StartPortal, ollama: Fake, tmp_path: Path, running: bool
) -> None:
    ollama.script(path="/api/pull", manual=True)
    ollama.step(4)
    if running:
        portal = start_portal(backends=[ollama])
        folder, env = portal.folder, portal.env
    else:
        folder, env = tmp_path, write_config(tmp_path, backends=[ollama])
    with Command(
        "models", "pull", "phi4", env={**env, "COLUMNS": "90"}, folder=folder, terminal=True
    ) as command:
        command.read_until("50 %  2.34 of 4.68 GB")
        assert "[###############...............]" in command.plain
        assert "\r" in command.output
        command.interrupt()
        ollama.wait("closed", path="/api/pull")
        assert command.wait() == 130
    assert TRACEBACK not in command.plain


def test_the_embedded_model_is_not_loaded_into_a_process_that_ends(tmp_path: Path) -> None:
    write_config(tmp_path)
    (tmp_path / "portal.toml").write_text("[server]\nprobe = false\n", "utf-8")
    done = run_cli("models", "load", "embedded/any", folder=tmp_path)
    assert done.returncode == 1
    assert "portal up" in done.stderr
