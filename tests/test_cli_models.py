"""What is known of each model, over HTTP and on the command line: all of it, guesses marked."""

import json
from pathlib import Path
from typing import Any

import pytest

from portal.runtime.cli.model_words import find_entry, list_lines, show_lines, state_of
from portal.runtime.cli.progress import Bar, Lines, bar
from portal.shared.model_list import ModelEntry, ModelFacts, list_entries
from portal.shared.model_operations import PullProgress
from portal.shared.models import BackendStatus, BreakerStatus, Model, Workspace
from tests.conftest import StartPortal
from tests.harness import Fake, PortalProcess, run_cli
from tests.test_cli_chat import write_config
from tests.test_cli_words import on_terminal

LIVE = BackendStatus("a", "ollama", "http://a", "live", True, models=1)


def entry(model: Model, backend: BackendStatus | None = LIVE) -> ModelEntry:
    """Show one model."""
    (found,) = list_entries((), [model], [] if backend is None else [backend])
    return found


def facts_of(portal: PortalProcess, model: str) -> dict[str, Any]:
    """Ask what is known of a model, once its backend is known."""
    portal.await_log("ollama is live")
    found: dict[str, Any] = portal.client.get(f"/v1/models/{model}").json()["portal"]
    return found


def test_workspaces_come_first_then_personas_then_models() -> None:
    virtual = [Workspace("persona/tutor", "t"), Workspace("auto", "x"), Workspace("mine", "y")]
    found = list_entries(virtual, [Model("a", "auto-like", "ollama")], [LIVE])
    assert [(each.id, each.portal.kind) for each in found] == [
        ("auto", "workspace"),
        ("mine", "workspace"),
        ("persona/tutor", "persona"),
        ("a/auto-like", "model"),
    ]


def test_all_that_ollama_tells_is_listed_and_what_hints_add_is_marked(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(backends=[ollama])
    found = facts_of(portal, "ollama/deepseek-r1:8b")
    assert found["capabilities"][0] == "general"
    assert {"reasoning", "function_calling"} <= set(found["capabilities"])
    told = {
        "kind": "model",
        "backend": "ollama",
        "live": True,
        "loaded": False,
        "context_window": 131072,
        "parameters": "8.2B",
        "quantization": "Q4_K_M",
        "family": "qwen3",
        "size_bytes": 5_225_376_047,
    }
    assert told.items() <= found.items()
    assert 0 < found["served_window"] <= 131072
    assert found["kv_bytes"] > 0
    assert len(found["digest"]) == 64
    assert set(found["quality"]) == {"general", "code", "math", "reasoning"}
    assert {"speed", "quality"} <= set(found["guessed"])
    assert not {"parameters", "quantization", "context_window"} & set(found["guessed"])
    assert "gone" not in found
    assert "breaker" not in found


def test_the_settings_have_the_last_word_and_are_no_guess(
    start_portal: StartPortal, ollama: Fake
) -> None:
    facts = {
        "name": "ollama/llava*",
        "quality": 88,
        "speed": "fast",
        "cost": 1.5,
        "context_window": 8192,
        "capabilities": ["general", "vision", "code"],
    }
    portal = start_portal(backends=[ollama], models=[facts])
    found = facts_of(portal, "llava:7b")
    assert (found["speed"], found["cost"], found["served_window"]) == ("fast", 1.5, 8192)
    assert set(found["quality"].values()) == {88}
    assert found["capabilities"] == ["general", "code", "vision"]
    assert not {"speed", "quality", "capabilities"} & set(found.get("guessed", ()))
    shown = run_cli("models", "show", "llava:7b", portal=portal).stdout
    assert "cost" in shown
    assert "1.5 a million tokens" in shown
    assert "(from hints)" not in shown.partition("quality")[2].partition("\n")[0]


def test_a_model_is_live_while_its_backend_is_and_has_it(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(backends=[ollama], server={"discover_seconds": 0.05})
    portal.await_log("ollama is live")
    assert facts_of(portal, "ollama/llava:7b")["live"] is True
    ollama.kill()
    portal.await_log("ollama is dead")
    found = facts_of(portal, "ollama/llava:7b")
    assert (found["live"], found.get("gone", False)) == (False, False)
    assert "its backend is down" in run_cli("models", portal=portal).stdout
    ids = [each["id"] for each in portal.client.get("/v1/models").json()["data"]]
    assert ids[:5] == ["auto", "auto-coding", "auto-reasoning", "auto-fast", "auto-vision"]


def test_the_command_marks_what_comes_from_hints(tmp_path: Path, openai_server: Fake) -> None:
    write_config(tmp_path, backends=[openai_server])
    shown = run_cli("models", "show", "Qwen/Qwen2.5-7B-Instruct", folder=tmp_path).stdout
    lines = {line[:14].strip(): line for line in shown.splitlines()}
    assert lines["parameters"].endswith("7B (from hints)")
    assert lines["quality"].endswith("(from hints)")
    assert "from hints" not in lines["context window"]
    table = run_cli("models", folder=tmp_path).stdout
    assert "~7B" in table
    assert "~ from hints" in table.splitlines()[-1]


def test_a_model_may_be_shown_without_its_latest(tmp_path: Path, ollama: Fake) -> None:
    write_config(tmp_path, backends=[ollama])
    for name in ("nomic-embed-text", "ollama/nomic-embed-text"):
        done = run_cli("models", "show", name, "--json", folder=tmp_path)
        assert json.loads(done.stdout)["id"] == "ollama/nomic-embed-text:latest"
    shown = run_cli("models", "show", "nomic-embed-text", folder=tmp_path).stdout
    assert "good for        embeddings" in shown


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        (ModelFacts("workspace"), "always there"),
        (ModelFacts("persona"), "always there"),
        (ModelFacts("model", live=True), "live"),
        (ModelFacts("model", live=True, loaded=True), "loaded"),
        (ModelFacts("model", live=True, embedded=True), "live, a small model"),
        (ModelFacts("model", live=False), "its backend is down"),
        (ModelFacts("model", live=False, gone=True), "gone: its backend no longer lists it"),
        (ModelFacts("model", live=True, breaker="open"), "left alone after failures"),
        (
            ModelFacts("model", live=True, loaded=True, breaker="half_open"),
            "loaded, tried again after failures",
        ),
    ],
)
def test_a_state_is_told_in_words(facts: ModelFacts, state: str) -> None:
    assert state_of(facts) == state


def test_a_gone_model_is_not_live_and_a_failing_one_says_so() -> None:
    gone = entry(Model("a", "x", "ollama", gone=True)).portal
    assert (gone.live, gone.gone) == (False, True)
    assert entry(Model("a", "x", "ollama"), None).portal.live is False
    statuses = (BreakerStatus("y", "open"), BreakerStatus("x", "closed", failures=1))
    failing = BackendStatus("a", "ollama", "http://a", "live", True, breakers=statuses)
    assert entry(Model("a", "x", "ollama"), failing).portal.breaker is None
    assert entry(Model("a", "y", "ollama"), failing).portal.breaker == "open"


def test_a_smaller_served_window_is_shown_beside_the_models_own() -> None:
    model = Model("a", "x", "ollama", context_window=131072, served_window=8192)
    assert "8192 of 131072" in list_lines([entry(model)])[1]
    shown = "\n".join(show_lines(entry(model)))
    assert "131072 tokens" in shown
    assert "served with     8192 tokens" in shown


def test_a_table_without_guesses_has_no_word_on_them() -> None:
    model = Model("a", "x", "ollama", parameters="7B")
    assert len(list_lines([entry(model)])) == 2


def test_what_cannot_be_found_is_told_with_what_is_near() -> None:
    entries = [entry(Model(name, "x:1b", "ollama")) for name in ("a", "b")]
    assert find_entry("x:1b", entries) == "'x:1b' is on several backends: a/x:1b, b/x:1b."
    assert "Did you mean 'a/x:1b'?" in str(find_entry("a/x:2b", entries))


STEP = PullProgress("pulling ab", "sha256:ab", 2_500_000_000, 10_000_000_000)


def test_a_bar_fills_and_never_exceeds_the_terminal() -> None:
    assert bar(STEP, 100) == (
        "pulling ab  [#######.......................]  25 %  2.50 of 10.00 GB"
    )
    assert bar(STEP, 100, rate=1.25e7).endswith("  12.5 MB/s")
    for width in range(1, 120):
        assert len(bar(STEP, width, rate=1e9)) <= width
    assert bar(PullProgress("verifying"), 80) == "verifying"


@pytest.mark.parametrize(
    "step",
    [
        PullProgress("x", total=0, completed=0),
        PullProgress("x", completed=5),
        PullProgress("x", total=10),
        PullProgress("x", total=10, completed=30),
        PullProgress("\x1b[2Jx\r", total=10, completed=-1),
    ],
)
def test_whatever_a_server_claims_is_one_plain_line(step: PullProgress) -> None:
    shown = bar(step, 80)
    assert "\x1b" not in shown
    assert "\r" not in shown
    assert "130 %" not in shown
    for view in (Bar, Lines):
        view(on_terminal("")).step(step)


def test_a_bar_tells_its_rate_and_each_part_has_a_line() -> None:
    now = [0.0]
    terminal = on_terminal("")
    view = Bar(terminal, clock=lambda: now[0])
    view.step(PullProgress("one", "d", 0, 100_000_000))
    now[0] = 2.0
    view.step(PullProgress("one", "d", 50_000_000, 100_000_000))
    view.step(PullProgress("two"))
    view.end()
    view.end()
    written = terminal.stdout.getvalue()  # type: ignore[attr-defined]
    assert "25.0 MB/s" in written
    assert written.count("\n") == 2
    assert written.endswith("\rtwo\x1b[K\n")


def test_lines_tell_each_tenth_once() -> None:
    terminal = on_terminal("")
    view = Lines(terminal)
    for done in range(101):
        view.step(PullProgress("one", "d", done * 10**6, 100 * 10**6))
    view.end()
    lines = terminal.stdout.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 11
    assert lines[5] == "one   50 %  50.00 of 100.00 MB"
