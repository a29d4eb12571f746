"""The Portal that already runs on this state directory, called over HTTP as its owner."""

import contextlib
import urllib.parse
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec

from portal.functions.answers.compare import Comparison
from portal.functions.personas.list import PersonaList
from portal.functions.system.backends import BackendList
from portal.functions.system.create_session_link import SessionLink
from portal.functions.system.reset_breakers import Reset
from portal.runtime.backends.framing import Events
from portal.runtime.ops.instance import RunInfo, read_run
from portal.shared.decisions import Decision
from portal.shared.errors import BackendBroken, PortalError
from portal.shared.messages import Message
from portal.shared.model_list import ModelEntry, ModelList
from portal.shared.model_operations import PullProgress
from portal.shared.models import BackendStatus, Health, Persona
from portal.shared.route_request import RouteQuestion
from portal.shared.turns import Sampling, TurnEvent

T = TypeVar("T")
ANSWER_SECONDS = 10.0
"""Longest wait for what is answered from memory."""
DONE = b"[DONE]"

_event: msgspec.json.Decoder[TurnEvent] = msgspec.json.Decoder(TurnEvent)
_progress = msgspec.json.Decoder(PullProgress)


class NotAnswering(PortalError):
    """A Portal holds the state directory, yet does not answer at its address."""

    code = "not_answering"


class Refused(PortalError):
    """The running Portal answered with an error; the message is its own."""

    code = "refused"


class RunningServer:
    """Calls one server with the owner token of its run.json."""

    def __init__(self, run: RunInfo) -> None:
        self.run = run
        self._headers = {
            "authorization": f"Bearer {run.token}",
            "content-type": "application/json",
        }

    def health(self) -> Health:
        """Ask for the state of the whole."""
        return self.call("GET", "/health", Health)

    def ready(self) -> bool:
        """Tell whether it takes requests; a server that does not answer is not ready."""
        try:
            self.call("GET", "/health/ready", dict[str, Any])
        except (NotAnswering, Refused):
            return False
        return True

    async def models(self) -> Sequence[ModelEntry]:
        """List workspaces, personas and models."""
        return self.call("GET", "/v1/models", ModelList).data

    async def backends(self) -> Sequence[BackendStatus]:
        """List the backends."""
        return self.call("GET", "/portal/backends", BackendList).data

    def personas(self) -> Sequence[Persona]:
        """List the personas."""
        return self.call("GET", "/v1/personas", PersonaList).data

    async def route(self, question: RouteQuestion) -> Decision:
        """Say what would answer a question, and why."""
        return await self._wait_for("/portal/route", Decision, question)

    async def compare(self, models: Sequence[str], prompt: str) -> Comparison:
        """Ask several models the same. Cancelling it makes the server stop their answers."""
        body = {"models": models, "prompt": prompt}
        return await self._wait_for("/portal/compare", Comparison, body)

    async def pull(self, model: str) -> AsyncGenerator[PullProgress, None]:
        """Let a backend download a model. Closing the iterator ends the download."""
        async with contextlib.aclosing(self._stream("/portal/models/pull", {"model": model})) as it:
            async for data in it:
                yield _decoded(data, _progress)

    async def remove(self, model: str) -> None:
        """Delete a model from its backend."""
        path = f"/portal/models/{urllib.parse.quote(model)}"
        await self._wait_for(path, dict[str, Any], method="DELETE")

    async def load(self, model: str) -> None:
        """Bring a model into its backend's memory, however long that takes."""
        await self._wait_for("/portal/models/load", dict[str, Any], {"model": model})

    async def unload(self, model: str) -> None:
        """Free the memory that a model takes."""
        await self._wait_for("/portal/models/unload", dict[str, Any], {"model": model})

    def reset_breakers(self, backend: str | None, model: str | None) -> int:
        """Close the breakers that match; give how many were not closed."""
        body = {"backend": backend, "model": model}
        return self.call("POST", "/portal/backends/reset", Reset, body).reset

    def session_link(self) -> str:
        """Make an address that signs one browser in, once."""
        return self.run.url + self.call("POST", "/portal/session-links", SessionLink).path

    def stop(self) -> None:
        """Ask it to end in order."""
        self.call("POST", "/portal/stop", dict[str, Any])

    async def answer(
        self, messages: Sequence[Message], model: str, sampling: Sampling | None = None
    ) -> AsyncGenerator[TurnEvent]:
        """Stream one turn. Closing the iterator early makes the server stop the answer."""
        body = {
            "messages": [{"role": each.role, "content": each.text} for each in messages],
            "workspace": model,
            "sampling": sampling or Sampling(),
            "channel": "cli",
        }
        async with contextlib.aclosing(self._stream("/portal/turns", body)) as events:
            async for data in events:
                yield _decoded(data, _event)

    async def _stream(self, path: str, body: object) -> AsyncGenerator[bytes]:
        """Post, and give the events of the answer up to its end."""
        async with self._client() as client:
            try:
                async with client.stream(
                    "POST", self.run.url + path, content=msgspec.json.encode(body)
                ) as reply:
                    if reply.status_code != httpx.codes.OK:
                        raise _refusal(reply.status_code, await reply.aread())
                    async with contextlib.aclosing(_events(reply)) as events:
                        async for event in events:
                            yield event
            except httpx.TransportError as error:
                raise self._silent(error) from error

    async def _wait_for(
        self, path: str, shape: type[T], body: object = None, *, method: str = "POST"
    ) -> T:
        """Have something done that takes its time, and get its result."""
        content = None if body is None else msgspec.json.encode(body)
        try:
            async with self._client() as client:
                reply = await client.request(method, self.run.url + path, content=content)
        except httpx.TransportError as error:
            raise self._silent(error) from error
        return self._read(path, reply, shape)

    def _client(self) -> httpx.AsyncClient:
        """Make a client that waits for as long as the server works."""
        timeout = httpx.Timeout(None, connect=ANSWER_SECONDS)
        return httpx.AsyncClient(trust_env=False, timeout=timeout, headers=self._headers)

    def call(self, method: str, path: str, shape: type[T], body: object = None) -> T:
        """Ask what is answered from memory."""
        content = None if body is None else msgspec.json.encode(body)
        timeout = ANSWER_SECONDS
        try:
            with httpx.Client(trust_env=False, timeout=timeout, headers=self._headers) as client:
                reply = client.request(method, self.run.url + path, content=content)
        except httpx.TransportError as error:
            raise self._silent(error) from error
        return self._read(path, reply, shape)

    def _read(self, path: str, reply: httpx.Response, shape: type[T]) -> T:
        if not reply.is_success:
            raise _refusal(reply.status_code, reply.content)
        try:
            return msgspec.json.decode(reply.content, type=shape)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise NotAnswering(
                f"{self.run.url}{path} does not answer as Portal does: another program may have "
                "taken the port."
            ) from error

    def _silent(self, error: Exception) -> NotAnswering:
        reason = str(error) or type(error).__name__
        return NotAnswering(
            f"Portal (pid {self.run.pid}) does not answer at {self.run.url}: {reason}. "
            "`portal doctor` looks closer, `portal down` ends it."
        )


def find_running(state_dir: Path) -> RunningServer | None:
    """Find the Portal that holds a state directory, if one does."""
    run = read_run(state_dir)
    return None if run is None else RunningServer(run)


async def _events(reply: httpx.Response) -> AsyncGenerator[bytes]:
    frames = Events()
    async for chunk in reply.aiter_bytes():
        for data in frames.feed(chunk):
            if data == DONE:
                return
            yield data
    raise BackendBroken("The answer was cut: Portal closed the connection before its end.")


def _decoded(data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        # The host ends a stream that failed with OpenAI's error object instead of an event.
        raise _refusal(0, data) from None


def _refusal(status: int, body: bytes) -> Refused:
    try:
        message = msgspec.json.decode(body)["error"]["message"]
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError):
        message = f"Portal answered with status {status}, and not in its own words."
    return Refused(str(message))
