"""`portal chat` against a fake backend, through a running Portal and without one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartPortal
from tests.fakes.running import clean_environment
from tests.harness import TRACEBACK, Fake, run_cli, to_toml
from tests.on_terminal import Command

CHAT = "/v1/chat/completions"
Chat = Callable[..., Command]


def write_config(folder: Path, **tables: Any) -> dict[str, str]:
    """Write a quiet `portal.toml` for commands without a server, and give their environment."""
    backends = [
        each.backend() if isinstance(each, Fake) else each for each in tables.pop("backends", ())
    ]
    settings = {
        "backends": backends,
        "server": {"probe": False} | tables.pop("server", {}),
        "embedded": {"enabled": False},
        **tables,
    }
    (folder / "portal.toml").write_text(to_toml(settings), "utf-8")
    return clean_environment(folder) | {
        "PORTAL_DATA_DIR": str(folder / "data"),
        "PORTAL_STATE_DIR": str(folder / "state"),
    }


@pytest.fixture(params=["running", "in process"])
def chat(
    request: pytest.FixtureRequest,
    start_portal: StartPortal,
    openai_server: Fake,
    tmp_path: Path,
) -> Chat:
    """Start `portal chat …`, beside a running Portal and without one."""
    if request.param == "running":
        portal = start_portal(backends=[openai_server])
        folder, env = portal.folder, portal.env
    else:
        folder, env = tmp_path, write_config(tmp_path, backends=[openai_server])

    def start(*words: str, terminal: bool = False, **more: str) -> Command:
        return Command("chat", *words, env={**env, **more}, folder=folder, terminal=terminal)

    return start


def test_an_answer_is_shown_token_by_token(chat: Chat, openai_server: Fake) -> None:
    openai_server.script(tokens=["One", " two", " three"], manual=True)
    with chat("Count.") as command:
        openai_server.wait("request", path=CHAT)
        openai_server.step()
        command.read_until("One")
        assert "two" not in command.plain
        openai_server.step(2)
        command.read_until("One two three\n")
        openai_server.step(10)
        assert command.wait() == 0
    assert "-- openai/" in command.plain


def test_ctrl_c_stops_the_answer_and_its_backend(chat: Chat, openai_server: Fake) -> None:
    openai_server.script(tokens=["One", " two"], manual=True)
    with chat("Count.") as command:
        openai_server.wait("request", path=CHAT)
        openai_server.step()
        command.read_until("One")
        command.interrupt()
        openai_server.wait("closed", path=CHAT)
        assert command.wait() == 130
    assert TRACEBACK not in command.plain
    assert openai_server.requests(CHAT)[0].closed_after == 1


def test_ctrl_c_in_a_conversation_stops_the_answer_and_not_the_conversation(
    chat: Chat, openai_server: Fake
) -> None:
    openai_server.script(tokens=["One", " two"], manual=True, times=1)
    with chat(terminal=True) as command:
        command.read_until("\n> ")
        command.type("Count.")
        openai_server.wait("request", path=CHAT)
        openai_server.step()
        command.read_until("One")
        command.interrupt()
        openai_server.wait("closed", path=CHAT)
        command.read_until("Stopped.")
        command.type("And now?")
        command.read_until("Echo: And now?")
        command.type("/quit")
        assert command.wait() == 0
    assert TRACEBACK not in command.plain


def test_ctrl_c_at_the_prompt_does_not_end_the_conversation(
    chat: Chat, openai_server: Fake
) -> None:
    with chat(terminal=True) as command:
        command.read_until("\n> ")
        command.interrupt_until("Stopped.")
        command.read_until("conversation.\n> ")
        command.type("Still there?")
        command.read_until("Instruct\n> ")
        command.type_end()
        assert command.wait() == 0


def test_a_conversation_without_a_server_goes_on_looking_for_backends(
    tmp_path: Path, ollama: Fake, openai_server: Fake
) -> None:
    env = write_config(
        tmp_path,
        backends=[ollama, openai_server],
        server={"probe": False, "discover_seconds": 0.05},
    )
    with Command("chat", env=env, folder=tmp_path, terminal=True) as command:
        command.read_until("\n> ")
        seen = len(ollama.requests("/api/tags"))
        ollama.wait("request", seen + 3, path="/api/tags")
        command.type("Hello.")
        command.read_until("Echo: Hello.")
        command.type("/quit")
        assert command.wait() == 0


def test_a_conversation_is_kept_until_a_new_one_begins(chat: Chat, openai_server: Fake) -> None:
    with chat("--system", "Be brief.", terminal=True) as command:
        for line in ("First.", "Second."):
            command.read_until("\n> ")
            command.type(line)
            command.read_until(f"Echo: {line}")
        command.type("/new")
        command.read_until("A new conversation.")
        command.type("Third.")
        command.read_until("Echo: Third.")
        command.type("/quit")
        assert command.wait() == 0
    sent = [
        [(message["role"], message["content"]) for message in request.json["messages"]]
        for request in openai_server.requests(CHAT)
    ]
    system = ("system", "Be brief.")
    assert sent == [
        [system, ("user", "First.")],
        [system, ("user", "First."), ("assistant", "Echo: First."), ("user", "Second.")],
        [system, ("user", "Third.")],
    ]


def test_the_model_can_be_changed_in_a_conversation(chat: Chat, openai_server: Fake) -> None:
    openai_server.models("other")
    with chat(terminal=True) as command:
        command.read_until("\n> ")
        command.type("/model openai/other")
        command.read_until("Asking openai/other")
        command.type("Hello.")
        command.read_until("-- openai/other")
        command.type("/quit")
        assert command.wait() == 0
    assert openai_server.requests(CHAT)[0].json["model"] == "other"


def test_a_failed_question_in_a_conversation_is_told_and_forgotten(
    chat: Chat, openai_server: Fake
) -> None:
    openai_server.script(status=400, body={"error": {"message": "too hot"}}, times=1)
    with chat(terminal=True) as command:
        command.read_until("\n> ")
        command.type("First.")
        command.read_until("too hot")
        command.type("Second.")
        command.read_until("Echo: Second.")
        command.type("/quit")
        assert command.wait() == 0
    assert [m["content"] for m in openai_server.requests(CHAT)[-1].json["messages"]] == ["Second."]


def test_reasoning_is_shown_on_a_terminal_and_nowhere_else(chat: Chat, openai_server: Fake) -> None:
    openai_server.script(reasoning=["Let me", " think."], tokens=["Done."])
    with chat("Think.", terminal=True) as command:
        assert command.wait() == 0
    assert "Let me think.\n\nDone." in command.plain
    assert "\x1b[2mLet me\x1b[0m" in command.output
    with chat("Think.") as command:
        assert command.wait() == 0
    assert "Let me" not in command.plain


def test_no_color_is_respected(chat: Chat, openai_server: Fake) -> None:
    with chat("Hello.", terminal=True, NO_COLOR="1") as command:
        assert command.wait() == 0
    assert "\x1b[" not in command.output


def test_a_model_cannot_write_control_sequences_to_the_terminal(
    chat: Chat, openai_server: Fake
) -> None:
    openai_server.script(tokens=["a\x1b]0;owned\x07", "\x1b[2Jb\u009b3Jc"])
    with chat("Hello.", terminal=True, NO_COLOR="1") as command:
        assert command.wait() == 0
    assert "a]0;owned[2Jb3Jc" in command.output
    assert "\x1b" not in command.output


def test_an_answer_cut_in_the_middle_is_a_fault(chat: Chat, openai_server: Fake) -> None:
    openai_server.script(tokens=["One", " two", " three"], cut_after=1)
    with chat("Count.") as command:
        assert command.wait() == 1
    assert "One\n" in command.plain
    assert "portal: " in command.plain
    assert TRACEBACK not in command.plain


def test_json_is_one_line_with_the_whole_answer(start_portal: StartPortal, ollama: Fake) -> None:
    portal = start_portal(backends=[ollama])
    done = run_cli("chat", "Hello.", "--model", "ollama/qwen2.5:7b", "--json", portal=portal)
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    found = json.loads(done.stdout)
    assert found["answer"] == "Echo: Hello."
    assert found["model"] == "ollama/qwen2.5:7b"
    assert found["finish_reason"] == "stop"
    assert found["tokens"]["output"] > 0
    assert found["error"] is None


def test_json_of_a_failure_names_the_error(start_portal: StartPortal, ollama: Fake) -> None:
    portal = start_portal(backends=[ollama])
    done = run_cli("chat", "Hello.", "--model", "nonesuch", "--json", portal=portal)
    assert done.returncode == 1
    assert "nonesuch" in json.loads(done.stdout)["error"]
    assert "nonesuch" in done.stderr


def test_what_is_piped_in_is_the_question(start_portal: StartPortal, ollama: Fake) -> None:
    portal = start_portal(backends=[ollama])
    done = run_cli("chat", portal=portal, text="First line.\nSecond line.\n")
    assert done.returncode == 0
    (asked,) = ollama.requests("/api/chat")
    assert asked.json["messages"][-1]["content"].startswith("First line.\nSecond line.")


def test_an_empty_question_is_wrong_usage(start_portal: StartPortal, ollama: Fake) -> None:
    portal = start_portal(backends=[ollama])
    for done in (run_cli("chat", " ", portal=portal), run_cli("chat", portal=portal)):
        assert done.returncode == 2
        assert done.stderr == "portal: The question is empty.\n"


def test_a_terminal_without_unicode_gets_every_answer(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(backends=[ollama])
    ollama.script(tokens=["caf\u00e9 \u2713\u2028done"])
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    done = run_cli("chat", "Hello.", portal=portal, env=ascii_only)
    assert done.returncode == 0
    assert done.stdout == "caf? ??done\n"
    done = run_cli("chat", "Hello.", "--json", portal=portal, env=ascii_only)
    assert json.loads(done.stdout)["answer"] == "caf\u00e9 \u2713\u2028done"


def test_without_any_model_the_reason_is_told(tmp_path: Path) -> None:
    write_config(tmp_path)
    done = run_cli("chat", "Hello.", folder=tmp_path)
    assert done.returncode == 1
    assert "No model can answer now" in done.stderr
    assert TRACEBACK not in done.stderr


def test_two_commands_without_a_server_do_not_share_a_state_directory(
    tmp_path: Path, openai_server: Fake
) -> None:
    env = write_config(tmp_path, backends=[openai_server])
    openai_server.script(manual=True)
    with Command("chat", "Hello.", env=env, folder=tmp_path) as first:
        openai_server.wait("request", path=CHAT)
        done = run_cli("chat", "Hello.", folder=tmp_path)
        openai_server.step(100)
        assert first.wait() == 0
    assert done.returncode == 1
    assert "portal up" in done.stderr
