"""The same question to several models: each answers for itself, and none harms another."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import StartFake, StartPortal
from tests.harness import TRACEBACK, Fake, PortalProcess, run_cli
from tests.on_terminal import Command
from tests.test_cli_chat import write_config

COMPARE = "/portal/compare"
CHAT = "/api/chat"
QWEN, LLAVA, R1 = "ollama/qwen2.5:7b", "ollama/llava:7b", "ollama/deepseek-r1:8b"


def compared(portal: PortalProcess, *models: str, **body: Any) -> list[dict[str, Any]]:
    """Ask several models."""
    body = {"prompt": "hi", "models": models, **body}
    answer = portal.client.post(COMPARE, json=body)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def test_answers_stand_in_the_order_of_the_models_however_long_each_takes(
    start_portal: StartPortal, ollama: Fake, openai_server: Fake
) -> None:
    ollama.script(model="qwen2.5:7b", text="slow", interval_ms=300)
    ollama.script(model="llava:7b", text="quick")
    portal = start_portal(backends=[ollama, openai_server.backend("vllm")])
    found = compared(portal, QWEN, LLAVA, "vllm/Qwen/Qwen2.5-7B-Instruct")
    assert [each["text"] for each in found] == ["slow", "quick", "Echo: hi"]
    assert [each["model"] for each in found] == [each["answered_by"] for each in found]
    assert found[0]["seconds"] > found[1]["seconds"] > 0
    assert found[1]["usage"] == {"input_tokens": 11, "output_tokens": 1, "estimated": False}
    assert all(each["seconds"] >= each["first_token_seconds"] for each in found)


def test_models_are_asked_at_once(start_portal: StartPortal, ollama: Fake) -> None:
    ollama.script(tokens=["a"], manual=True)
    portal = start_portal(backends=[ollama])
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(compared, portal, QWEN, LLAVA, R1)
        ollama.wait("request", 3, path=CHAT)
        ollama.step(3)
        assert [each["text"] for each in asking.result(30)] == ["a", "a", "a"]


def test_one_that_fails_is_told_and_harms_no_other(start_portal: StartPortal, ollama: Fake) -> None:
    ollama.script(model="llava:7b", status=500, body={"error": "out of memory"})
    portal = start_portal(backends=[ollama])
    found = compared(portal, LLAVA, QWEN, "nope", "auto")
    assert [bool(each.get("error")) for each in found] == [True, False, True, False]
    assert found[0]["error"]["code"] == "backend_refused"
    assert "out of memory" in found[0]["error"]["message"]
    assert found[2]["error"]["code"] == "model_not_found"
    assert found[1]["text"] == found[3]["text"] == "Echo: hi"
    assert found[3]["model"] == "auto"
    assert found[3]["answered_by"].startswith("ollama/")


def test_what_was_said_before_an_answer_broke_is_kept(
    start_portal: StartPortal, ollama: Fake
) -> None:
    ollama.script(model="llava:7b", tokens=["one", " two"], cut_after=1)
    ollama.script(model="deepseek-r1:8b", reasoning=["hm"], text="well")
    portal = start_portal(backends=[ollama])
    broken, whole = compared(portal, LLAVA, R1)
    assert (broken["text"], broken["error"]["code"]) == ("one", "backend_broken")
    assert (whole["reasoning"], whole["text"]) == ("hm", "well")


def test_the_same_model_twice_answers_twice(start_portal: StartPortal, ollama: Fake) -> None:
    portal = start_portal(backends=[ollama])
    found = compared(portal, QWEN, QWEN)
    assert [each["model"] for each in found] == [QWEN, QWEN]
    assert len(ollama.requests(CHAT)) == 2


def test_conversation_sampling_and_usage_are_those_of_every_answer(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(backends=[ollama])
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    compared(portal, QWEN, LLAVA, messages=messages, sampling={"temperature": 0.5})
    for row in ollama.requests(CHAT):
        assert [each["content"] for each in row.json["messages"]] == ["a", "b", "hi"]
        assert row.json["options"]["temperature"] == 0.5
    owner = {"authorization": f"Bearer {portal.run_json()['token']}"}
    used = portal.client.get("/portal/usage", headers=owner).json()["data"]
    assert {row["model"] for row in used} == {"qwen2.5:7b", "llava:7b"}


def test_no_single_route_is_claimed_for_many_answers(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(backends=[ollama])
    answer = portal.client.post(COMPARE, json={"prompt": "hi", "models": [QWEN, LLAVA]})
    assert "x-portal-route" not in answer.headers


@pytest.mark.parametrize(
    "body",
    [
        {"models": [QWEN]},
        {"models": [QWEN], "prompt": ""},
        {"models": [], "prompt": "hi"},
        {"models": [QWEN] * 9, "prompt": "hi"},
        {"prompt": "hi"},
        {"models": QWEN, "prompt": "hi"},
        {"models": [QWEN], "prompt": "hi", "stream": True},
    ],
)
def test_a_malformed_comparison_is_refused(
    start_portal: StartPortal, ollama: Fake, body: dict[str, Any]
) -> None:
    portal = start_portal(backends=[ollama])
    answer = portal.client.post(COMPARE, json=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert ollama.requests(CHAT) == []


def test_a_client_that_leaves_closes_every_upstream(
    start_portal: StartPortal, ollama: Fake, start_fake: StartFake
) -> None:
    other = start_fake("ollama")
    for fake in (ollama, other):
        fake.script(tokens=["a", " b"], manual=True)
        fake.step(1)
    portal = start_portal(backends=[ollama, other.backend("other")])
    models = [QWEN, LLAVA, "other/qwen2.5:7b"]
    with (
        httpx.Client(base_url=portal.url, trust_env=False, timeout=1) as client,
        pytest.raises(httpx.ReadTimeout),
    ):
        client.post(COMPARE, json={"prompt": "hi", "models": models})
    ollama.wait("closed", 2, path=CHAT)
    other.wait("closed", 1, path=CHAT)
    assert portal.client.get("/health").json()["status"] == "ok"


def test_the_command_shows_every_answer_and_failure(
    start_portal: StartPortal, ollama: Fake
) -> None:
    ollama.script(model="llava:7b", status=500, body={"error": "out of memory"})
    portal = start_portal(backends=[ollama])
    done = run_cli("compare", "hi there", "--models", f"{QWEN}, {LLAVA}", portal=portal)
    assert done.returncode == 0
    assert f"== {QWEN}\nEcho: hi there\n" in done.stdout
    assert "failed: " in done.stdout
    assert "out of memory" in done.stdout
    *_, one, two = done.stdout.splitlines()
    assert one.split()[:2] == [QWEN, QWEN]
    assert "11 + 3" in one
    assert two.split() == [LLAVA, "failed"]


def test_the_command_compares_without_a_running_portal(tmp_path: Path, ollama: Fake) -> None:
    write_config(tmp_path, backends=[ollama])
    words = ("compare", "--model", QWEN, "--model", "nope", "--json")
    done = run_cli(*words, folder=tmp_path, text="piped in")
    assert done.returncode == 0
    answered, failed = json.loads(done.stdout)["data"]
    assert answered["text"] == "Echo: piped in"
    assert failed["error"]["code"] == "model_not_found"
    assert not (tmp_path / "state" / "run.json").exists()


def test_the_command_is_status_1_when_all_failed_and_2_when_used_wrongly(
    tmp_path: Path, ollama: Fake
) -> None:
    write_config(tmp_path, backends=[ollama])
    done = run_cli("compare", "hi", "--models", "nope,neither", folder=tmp_path)
    assert done.returncode == 1
    assert done.stdout.count("failed: ") == 2
    for words in (["hi"], [" ", "--models", QWEN], ["hi", "--models", ",".join([QWEN] * 9)]):
        done = run_cli("compare", *words, folder=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("portal: ")


@pytest.mark.parametrize("running", [True, False])
def test_ctrl_c_ends_every_answer(
    start_portal: StartPortal, ollama: Fake, tmp_path: Path, running: bool
) -> None:
    ollama.script(tokens=["a", " b"], manual=True)
    if running:
        portal = start_portal(backends=[ollama])
        folder, env = portal.folder, portal.env
    else:
        folder, env = tmp_path, write_config(tmp_path, backends=[ollama])
    with Command("compare", "hi", "--models", f"{QWEN},{LLAVA}", env=env, folder=folder) as command:
        ollama.wait("request", 2, path=CHAT)
        command.interrupt()
        ollama.wait("closed", 2, path=CHAT)
        assert command.wait() == 130
    assert TRACEBACK not in command.plain
