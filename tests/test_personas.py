"""Personas are models: listed and asked, one's own beside the shipped ones, faults told plainly."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartPortal
from tests.harness import TRACEBACK, Fake, run_cli
from tests.test_cli_chat import write_config

CHAT = "/v1/chat/completions"
SHIPPED = ["editor", "planner", "tutor"]
PIRATE = """
name: Pirate
description: Answers like a pirate.
temperature: 0.9
system: |-
  You are a pirate.
  Stay in your role.
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder of one's own personas, with one in it."""
    folder = tmp_path / "my personas"
    folder.mkdir()
    (folder / "pirate.yaml").write_text(PIRATE, "utf-8")
    return folder


def asked(model: str, text: str = "hi", **more: Any) -> dict[str, Any]:
    """Word a chat request."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def test_a_personas_prompt_and_temperature_reach_the_model(
    start_portal: StartPortal, ollama: Fake, own: Path
) -> None:
    portal = start_portal(backends=[ollama], personas_dir=own)
    answer = portal.client.post(CHAT, json=asked("persona/pirate"))
    assert answer.status_code == 200, answer.text
    workspace, backend, model, _ = answer.headers["x-portal-route"].split(";")
    assert (workspace, backend) == ("persona/pirate", "ollama")
    (sent,) = [row.json for row in ollama.requests("/api/chat")]
    assert sent["model"] == model
    assert sent["messages"] == [
        {"role": "system", "content": "You are a pirate.\nStay in your role."},
        {"role": "user", "content": "hi"},
    ]
    assert sent["options"]["temperature"] == 0.9


def test_what_the_request_says_itself_wins_over_the_persona(
    start_portal: StartPortal, ollama: Fake, own: Path
) -> None:
    portal = start_portal(backends=[ollama], personas_dir=own)
    portal.client.post(CHAT, json=asked("persona/pirate", temperature=0.0))
    assert ollama.requests("/api/chat")[0].json["options"]["temperature"] == 0.0


def test_a_persona_stands_on_its_workspace_and_may_have_a_model_of_its_own(
    start_portal: StartPortal, ollama: Fake, own: Path
) -> None:
    lines = "\nworkspace: ship\nmodel: ollama/llava:7b\n"
    (own / "captain.yaml").write_text(PIRATE + lines, "utf-8")
    ship = {"system": "You are on a ship.", "max_tokens": 7, "model": "qwen2.5:7b"}
    portal = start_portal(backends=[ollama], personas_dir=own, workspaces={"ship": ship})
    portal.client.post(CHAT, json=asked("persona/captain"))
    (sent,) = [row.json for row in ollama.requests("/api/chat")]
    assert sent["model"] == "llava:7b"
    system = sent["messages"][0]["content"]
    assert system == "You are on a ship.\n\nYou are a pirate.\nStay in your role."
    assert sent["options"]["num_predict"] == 7


def test_a_persona_can_be_explained_and_named_in_a_message(
    start_portal: StartPortal, ollama: Fake, own: Path
) -> None:
    portal = start_portal(backends=[ollama], personas_dir=own)
    question = {"model": "auto", "prompt": "@model:persona/pirate hi"}
    decision = portal.client.post("/portal/route", json=question).json()
    assert decision["workspace"] == "persona/pirate"
    portal.client.post(CHAT, json=asked("auto", "@model:persona/pirate hi"))
    messages = ollama.requests("/api/chat")[0].json["messages"]
    assert [message["role"] for message in messages] == ["system", "user"]
    assert messages[1]["content"] == "hi"


def test_personas_are_listed_with_all_that_they_are(
    start_portal: StartPortal, ollama: Fake, own: Path
) -> None:
    portal = start_portal(backends=[ollama], personas_dir=own)
    found = {each["id"]: each for each in portal.client.get("/v1/personas").json()["data"]}
    assert list(found) == sorted([*SHIPPED, "pirate"])
    assert found["pirate"] == {
        "id": "pirate",
        "name": "Pirate",
        "description": "Answers like a pirate.",
        "system": "You are a pirate.\nStay in your role.",
        "temperature": 0.9,
    }
    assert all(found[name]["shipped"] and found[name]["greeting"] for name in SHIPPED)
    entry = portal.client.get("/v1/models/persona/pirate").json()
    assert entry["portal"] == {"kind": "persona", "description": "Answers like a pirate."}
    kinds = [each["portal"]["kind"] for each in portal.client.get("/v1/models").json()["data"]]
    assert kinds == sorted(kinds, key=["workspace", "persona", "model"].index)
    assert kinds.count("persona") == 4


def test_ones_own_persona_replaces_a_shipped_one_of_the_same_id(
    start_portal: StartPortal, ollama: Fake, own: Path
) -> None:
    (own / "pirate.yaml").rename(own / "tutor.yaml")
    portal = start_portal(backends=[ollama], personas_dir=own)
    found = {each["id"]: each for each in portal.client.get("/v1/personas").json()["data"]}
    assert list(found) == SHIPPED
    assert found["tutor"]["name"] == "Pirate"


BAD = {
    "no name": ("a.yaml", "description: x\nsystem: y\n", "name"),
    "unknown field": ("a.yaml", PIRATE + "\nvoice: deep\n", "voice"),
    "no YAML": ("a.yaml", "name: [unclosed\n", "a.yaml"),
    "no mapping": ("a.yaml", "- a\n- b\n", "object"),
    "an object of Python's": ("a.yaml", "!!python/object/apply:os.getcwd []\n", "python/object"),
    "too hot": ("a.yaml", PIRATE.replace("0.9", "9"), "temperature"),
    "no such workspace": ("a.yaml", PIRATE + "\nworkspace: ship\n", "auto-coding"),
    "no such channel": ("a.yaml", PIRATE + "\nprompts: {fax: Be short.}\n", "telegram"),
    "a bad id": ("My Pirate.yaml", PIRATE, "My Pirate.yaml"),
    "too large": ("a.yaml", PIRATE + "#" * 70_000, "64 KiB"),
    "no text": ("a.yaml", "name: caf\xe9", "a.yaml"),
    "a loop": ("a.yaml", "name: &a [*a]\n", "a.yaml"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_persona_is_one_clear_line_and_no_start(tmp_path: Path, case: str) -> None:
    name, text, told = BAD[case]
    folder = tmp_path / "personas"
    folder.mkdir()
    (folder / name).write_text(text, "latin-1")
    write_config(tmp_path)
    for words in (["up", "--no-browser"], ["config", "check"]):
        done = run_cli(*words, folder=tmp_path)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert told in line
        assert name in line or "persona 'a'" in line
        assert TRACEBACK not in line
    check = json.loads(run_cli("config", "check", "--json", folder=tmp_path).stdout)
    assert (check["ok"], len(check["faults"])) == (False, 1)


def test_a_folder_that_is_named_must_be_there(tmp_path: Path) -> None:
    write_config(tmp_path, personas_dir=tmp_path / "nowhere")
    for words in (["up", "--no-browser"], ["config", "check"]):
        done = run_cli(*words, folder=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert "nowhere, which does not exist" in done.stderr
    (tmp_path / "nowhere").write_text("a file", "utf-8")
    assert "nowhere cannot be read" in run_cli("config", "check", folder=tmp_path).stderr
    (tmp_path / "nowhere").unlink()
    (tmp_path / "nowhere").mkdir()
    assert run_cli("config", "check", folder=tmp_path).returncode == 0


def test_the_command_lists_and_shows_personas_with_and_without_portal(
    start_portal: StartPortal, ollama: Fake, own: Path, tmp_path: Path
) -> None:
    portal = start_portal(backends=[ollama], personas_dir=own)
    write_config(tmp_path, personas_dir=own)
    running, alone = {"portal": portal}, {"folder": tmp_path}
    listed = [json.loads(run_cli("personas", "--json", **at).stdout) for at in (running, alone)]
    assert listed[0] == listed[1]
    assert [each["id"] for each in listed[0]["data"]] == sorted([*SHIPPED, "pirate"])
    table = run_cli("personas", "list", folder=tmp_path).stdout
    assert "persona/pirate" in table
    for name in ("pirate", "persona/pirate"):
        shown = run_cli("personas", "show", name, folder=tmp_path).stdout
        assert "  You are a pirate.\n  Stay in your role." in shown
    found = json.loads(run_cli("personas", "show", "tutor", "--json", folder=tmp_path).stdout)
    assert found["id"] == "tutor"
    assert set(found["prompts"]) == {"telegram", "slack"}
    done = run_cli("personas", "show", "pirat", folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Did you mean 'pirate'?" in done.stderr
    assert not (tmp_path / "state").exists()
