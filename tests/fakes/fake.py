"""A fake, as a test sees it: a program on a port, and what it was asked."""

import contextlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec

from tests.fakes.running import (
    STOP_SECONDS,
    Serving,
    StartError,
    await_answer,
    clean_environment,
    free_port,
)

ROOT = Path(__file__).resolve().parents[2]


class Recorded(msgspec.Struct, frozen=True):
    """A request that a fake received, and the fate of its answer."""

    id: int
    connection: int
    method: str
    path: str
    query: dict[str, str]
    headers: list[tuple[str, str]]
    body: str
    tokens_sent: int
    state: str
    """`open`, `finished`, `client_closed` or `cut`."""
    closed_after: int | None
    """Tokens that had been sent when the client left; None if it did not."""
    sent: str

    @property
    def raw(self) -> bytes:
        """The request's body, byte for byte."""
        return self.body.encode("utf-8", "surrogateescape")

    @property
    def answer(self) -> bytes:
        """The answer's body as far as it was sent, framing taken off."""
        return self.sent.encode("utf-8", "surrogateescape")

    @property
    def json(self) -> Any:
        """The request's body, decoded."""
        return json.loads(self.raw)

    def header(self, name: str) -> str | None:
        """Find the first header of this name, in any case."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)


class Fake(Serving):
    """A fake backend or proxy, run as a program of its own and directed over HTTP."""

    def __init__(
        self,
        module: str,
        *options: str,
        port: int | None = None,
        separate_control: bool = False,
    ) -> None:
        """Start `python -m tests.fakes.<module>` and wait until it answers.

        `separate_control`: it is directed on a port of its own, as the chaos proxy is.
        """
        super().__init__(f"fake-{module}")
        self.module = module
        self._options = options
        self._separate = separate_control
        self._control = 0
        try:
            self._start(port)
        except BaseException:
            self.close()
            raise

    def backend(self, name: str | None = None, **fields: Any) -> dict[str, Any]:
        """Word it as an entry of `[[backends]]`; a fake of any other kind speaks OpenAI's API."""
        kind = "ollama" if self.module == "ollama" else "openai"
        return {"name": name or kind, "kind": kind, "url": self.url} | fields

    def requests(self, path: str | None = None) -> list[Recorded]:
        """List what it received so far, of one path or of all."""
        rows = self._ask("GET", "requests").json()["requests"]
        recorded = msgspec.convert(rows, list[Recorded])
        return [row for row in recorded if path is None or row.path == path]

    def connections(self) -> list[dict[str, Any]]:
        """List what passed a chaos proxy so far."""
        rows: list[dict[str, Any]] = self._ask("GET", "requests").json()["requests"]
        return rows

    def script(self, *scripts: Mapping[str, Any], **fields: Any) -> None:
        """Put scripts in force: mappings, or one of these fields; bytes as they are."""
        if fields or not scripts:
            scripts = (*scripts, fields)
        for script in scripts:
            self._ask("POST", "script", script)

    def step(self, tokens: int = 1) -> None:
        """Let exactly so many more tokens out of its `manual` answers."""
        self._ask("POST", "step", {"tokens": tokens})

    def models(self, *models: Any) -> None:
        """Replace its models until the next reset."""
        self._ask("POST", "models", {"models": models})

    def memory(self, models: int | None = None, *, load_ms: float = 0) -> None:
        """Let so many models fit into its memory at once, and loading one take so long."""
        self._ask("POST", "memory", {"models": models, "load_ms": load_ms})

    def state(self) -> dict[str, Any]:
        """Tell `loads` per model, their `order`, and what is `loaded` with which context."""
        state: dict[str, Any] = self._ask("GET", "state").json()
        return state

    def wait(
        self,
        event: str = "request",
        count: int = 1,
        *,
        path: str | None = None,
        timeout: float = 10,
    ) -> int:
        """Wait until an event was seen so often, and say how often. AssertionError if it is not."""
        query = {"event": event, "count": str(count), "timeout": str(timeout)}
        if path is not None:
            query["path"] = path
        answer = self._client_now().get(
            f"/__fake/wait?{httpx.QueryParams(query)}", timeout=timeout + 5
        )
        seen = answer.json().get("count")
        if answer.status_code != 200:
            what = f"{event} {path or ''}".strip()
            raise AssertionError(
                f"{self.module}: {what} was seen {seen} of {count} times in {timeout} s"
                f" ({answer.text}){self._program.tail()}"
            )
        return int(seen)

    def reset(self) -> None:
        """Make it forget requests and scripts, and end what it still answers."""
        self._ask("POST", "reset", {})

    def die(self) -> None:
        """Make its process exit at once, by its own doing."""
        with contextlib.suppress(httpx.TransportError):  # what dying looks like from here
            self._client_now().post("/__fake/die")
        self._program.wait(STOP_SECONDS)

    def kill(self) -> None:
        """End its process by force; its port then refuses."""
        self._program.kill()

    def restart(self) -> None:
        """Start it anew on the same ports, scripts and records gone."""
        self._program.kill()
        self._close_client()
        self._start(self.port)

    def ensure(self) -> None:
        """Start it again if it died, and reset it."""
        if self.alive:
            self.reset()
        else:
            self.restart()

    def stop(self) -> None:
        """End it and forget its files."""
        self.close()

    def _start(self, port: int | None) -> None:
        """Try other ports when one is taken between the look and the bind."""
        for last in (False, False, True):
            self.port = port or free_port()
            directed_on, self._control = self._control, self.port
            command = [sys.executable, "-m", f"tests.fakes.{self.module}", "--port", str(self.port)]
            if self._separate:
                self._control = directed_on if port and directed_on else free_port()
                command += ["--control-port", str(self._control)]
            env = clean_environment(self.folder)
            self._program.launch([*command, *self._options], cwd=ROOT, env=env)
            client = self._client_of(self._control, 10)
            try:
                await_answer(self._program, client, "/__fake/requests", self._is_mine)
            except StartError:
                self._close_client()
                self._program.clear()
                if port is not None or last:
                    raise
            else:
                return

    def _is_mine(self, answer: httpx.Response) -> bool:
        return answer.status_code == 200 and answer.json().get("pid") == self._program.pid

    def _ask(self, method: str, action: str, body: Any = None) -> httpx.Response:
        content = None if body is None else msgspec.json.encode(body)
        answer = self._client_now().request(method, f"/__fake/{action}", content=content)
        assert answer.status_code == 200, f"{self.module}: {action}: {answer.text}"
        return answer

    def _client_now(self) -> httpx.Client:
        assert self._client is not None, f"{self.module} is stopped"
        return self._client
