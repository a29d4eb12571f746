"""Runs Portal itself for tests, as a user starts it, beside the fakes of `tests.fakes`.

Everything listens on loopback below the ephemeral ports, every wait is bounded, and whoever
starts a program here stops it here.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.fakes.fake import Fake, Recorded
from tests.fakes.running import (
    HOST,
    START_SECONDS,
    STOP_SECONDS,
    Serving,
    StartError,
    await_answer,
    clean_environment,
    free_port,
    is_free,
)

__all__ = [
    "TRACEBACK",
    "Fake",
    "PortalProcess",
    "Recorded",
    "StartError",
    "end_and_inspect",
    "free_port",
    "run_cli",
]

TRACEBACK = "Traceback (most recent call last)"


class PortalProcess(Serving):
    """Portal, started as a user starts it, in a home of its own.

    `settings` are the tables of `portal.toml`; entries of `backends` may be fakes. By default
    nothing is probed and nothing embedded. `command` replaces the program, `{port}` and
    `{config}` filled in.
    """

    def __init__(
        self,
        *,
        env: Mapping[str, str] | None = None,
        port: int | None = None,
        folder: Path | None = None,
        command: Sequence[str] | None = None,
        ready: bool = True,
        start_seconds: float = START_SECONDS,
        **settings: Any,
    ) -> None:
        super().__init__("portal", folder)
        self.config = self.folder / "portal.toml"
        self.state_dir = self.folder / "state"
        self.data_dir = self.folder / "data"
        self._given_port = port or settings.get("server", {}).get("port")
        self._settings = settings
        self._command = command or (
            *(sys.executable, "-m", "portal.runtime", "up"),
            *("--no-browser", "--config", "{config}"),
        )
        self._start_seconds = start_seconds
        self.env = clean_environment(self.folder) | {
            "PORTAL_DATA_DIR": str(self.data_dir),
            "PORTAL_STATE_DIR": str(self.state_dir),
            **(env or {}),
        }
        try:
            self.start(ready=ready)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The id of the process that was started."""
        return self._program.pid

    @property
    def client(self) -> httpx.Client:
        """A client of its address that no proxy variable diverts."""
        return self._client_of(self.port, 60)

    def start(self, *, ready: bool = True) -> None:
        """Start it, again after a stop too, and wait until `/health/ready` is 200."""
        for last in (False, True):
            self.port = self._given_port or self.port or free_port()
            self.configure(**self._settings)
            filled = {"{port}": str(self.port), "{config}": str(self.config)}
            command = [filled.get(word, word) for word in self._command]
            self._program.launch(command, cwd=self.folder, env=self.env)
            if not ready:
                return
            try:
                self.await_ready()
            except StartError:
                # Another program may have taken the port between the look and the bind.
                if last or self._program.alive or self._given_port or is_free(self.port):
                    raise
                self.port = 0
                self._close_client()
            else:
                return

    def await_ready(self) -> None:
        """Wait until `/health/ready` is 200. StartError if that does not come."""
        await_answer(
            self._program,
            self.client,
            "/health/ready",
            lambda answer: answer.status_code == 200,
            self._start_seconds,
        )

    def configure(self, **settings: Any) -> None:
        """Write `portal.toml` anew, the address and the quiet defaults kept."""
        self._settings = settings
        tables = dict(settings)
        tables["server"] = {"host": HOST, "port": self.port, "probe": False} | dict(
            settings.get("server", {})
        )
        tables["embedded"] = {"enabled": False} | dict(settings.get("embedded", {}))
        backends = [
            item.backend() if isinstance(item, Fake) else dict(item)
            for item in settings.get("backends", ())
        ]
        if backends:
            tables["backends"] = backends
        else:
            tables.pop("backends", None)
        self.config.write_text(to_toml(tables), "utf-8")

    def run_json(self) -> dict[str, Any]:
        """Read what it says of itself: pid, url, token."""
        found: dict[str, Any] = json.loads((self.state_dir / "run.json").read_text("utf-8"))
        return found

    def logs(self) -> str:
        """Read all that it wrote so far, to stdout and stderr."""
        return self._program.logs()

    def await_log(self, text: str, seconds: float = START_SECONDS) -> None:
        """Wait until it wrote this. AssertionError if it ends or takes too long."""
        self._program.await_text(text, seconds)

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """Stop it in order (SIGTERM) and return the exit status. AssertionError if it stays."""
        self._close_client()
        return self._program.terminate(seconds)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait until it ends by itself and return the exit status."""
        return self._program.wait(seconds)

    def kill(self) -> None:
        """End it by force (SIGKILL), as a crash would; its children are not touched."""
        self._close_client()
        self._program.kill()

    def close(self) -> None:
        """End it in any way and forget its files, unless the folder was given."""
        self._close_client()
        try:
            if self._program.alive:
                self._program.terminate()
        finally:
            super().close()


def end_and_inspect(portal: PortalProcess, *, traceback_allowed: bool = False) -> list[str]:
    """Stop a Portal for good and list what went wrong: it would not stop, it logged a traceback."""
    faults = []
    try:
        if portal.alive:
            portal.stop()
    except AssertionError as error:
        faults.append(str(error))
    logs = portal.logs()
    portal.close()
    if TRACEBACK in logs and not traceback_allowed:
        faults.append(f"Portal logged a traceback:\n{logs[logs.index(TRACEBACK) :][:6000]}")
    return faults


def run_cli(
    *words: str,
    portal: PortalProcess | None = None,
    env: Mapping[str, str] | None = None,
    folder: Path | None = None,
    text: str | None = None,
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run `python -m portal.runtime <words>` to its end, with `text` on stdin.

    With `portal` it has the same home, directories and configuration; without, it has `folder`,
    or an empty one that is gone afterwards.
    """
    command = [sys.executable, "-m", "portal.runtime", *words]
    with tempfile.TemporaryDirectory(prefix="portal-cli-") as temporary:
        if portal is not None:
            home = portal.folder
            variables = portal.env | {"PORTAL_CONFIG": str(portal.config)}
        else:
            home = folder or Path(temporary)
            variables = clean_environment(home) | {
                "PORTAL_DATA_DIR": str(home / "data"),
                "PORTAL_STATE_DIR": str(home / "state"),
            }
        return subprocess.run(
            command,
            cwd=home,
            env={**variables, **(env or {})},
            input=text or "",
            capture_output=True,
            encoding="utf-8",
            timeout=timeout,
        )


def to_toml(table: Mapping[str, Any]) -> str:
    """Write settings as TOML: tables of the first level as sections, the rest inline."""
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    lines = [f"{toml_key(key)} = {toml_value(value)}" for key, value in plain.items()]
    for name, section in table.items():
        if isinstance(section, Mapping):
            lines += ["", f"[{toml_key(name)}]"]
            lines += [f"{toml_key(key)} = {toml_value(value)}" for key, value in section.items()]
    return "\n".join(lines) + "\n"


def toml_key(key: str) -> str:
    """Quote a key where it must be."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml_value(key)


def toml_value(value: Any) -> str:
    """Write one value inline."""
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case Mapping():
            pairs = (f"{toml_key(key)} = {toml_value(item)}" for key, item in value.items())
            return "{ " + ", ".join(pairs) + " }"
        case list() | tuple():
            return "[" + ", ".join(toml_value(item) for item in value) + "]"
        case _:
            return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
