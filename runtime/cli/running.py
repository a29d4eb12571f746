"""The Portal that already runs on this state directory, called over HTTP as its owner."""

import contextlib
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec

from portal.runtime.backends.framing import Events
from portal.runtime.ops.instance import RunInfo, read_run
from portal.shared.errors import BackendBroken, PortalError
from portal.shared.messages import Message
from portal.shared.model_list import ModelEntry, ModelList
from portal.shared.models import BackendStatus, Health
from portal.shared.turns import Sampling, TurnEvent

T = TypeVar("T")
ANSWER_SECONDS = 10.0
"""Longest wait for what is answered from memory."""
DONE = b"[DONE]"

_decoder: msgspec.json.Decoder[TurnEvent] = msgspec.json.Decoder(TurnEvent)


class NotAnswering(PortalError):
    """A Portal holds the state directory, yet does not answer at its address."""

    code = "not_answering"


class Refused(PortalError):
    """The running Portal answered with an error; the message is its own."""

    code = "refused"


class BackendList(msgspec.Struct, frozen=True):
    """What `/portal/backends` answers."""

    data: tuple[BackendStatus, ...]


class SessionLink(msgspec.Struct, frozen=True):
    """What `/portal/session-links` answers."""

    path: str


class RunningServer:
    """Calls one server with the owner token of its run.json."""

    def __init__(self, run: RunInfo) -> None:
        self.run = run
        self._headers = {"authorization": f"Bearer {run.token}"}

    def health(self) -> Health:
        """Ask for the state of the whole."""
        return self._call("GET", "/health", Health)

    def ready(self) -> bool:
        """Tell whether it takes requests; a server that does not answer is not ready."""
        try:
            self._call("GET", "/health/ready", dict[str, Any])
        except (NotAnswering, Refused):
            return False
        return True

    async def models(self) -> Sequence[ModelEntry]:
        """List workspaces and models."""
        return self._call("GET", "/v1/models", ModelList).data

    async def backends(self) -> Sequence[BackendStatus]:
        """List the backends."""
        return self._call("GET", "/portal/backends", BackendList).data

    def session_link(self) -> str:
        """Make an address that signs one browser in, once."""
        return self.run.url + self._call("POST", "/portal/session-links", SessionLink).path

    def stop(self) -> None:
        """Ask it to end in order."""
        self._call("POST", "/portal/stop", dict[str, Any])

    async def answer(
        self, messages: Sequence[Message], model: str, sampling: Sampling | None = None
    ) -> AsyncGenerator[TurnEvent]:
        """Stream one turn. Closing the iterator early makes the server stop the answer."""
        body = {
            "messages": [{"role": each.role, "content": each.text} for each in messages],
            "workspace": model,
            "sampling": sampling or Sampling(),
        }
        timeout = httpx.Timeout(None, connect=ANSWER_SECONDS)
        async with httpx.AsyncClient(trust_env=False, timeout=timeout) as client:
            try:
                async with client.stream(
                    "POST",
                    f"{self.run.url}/portal/turns",
                    content=msgspec.json.encode(body),
                    headers={**self._headers, "content-type": "application/json"},
                ) as reply:
                    if reply.status_code != httpx.codes.OK:
                        raise _refusal(reply.status_code, await reply.aread())
                    async with contextlib.aclosing(_events(reply)) as events:
                        async for event in events:
                            yield event
            except httpx.TransportError as error:
                raise self._silent(error) from error

    def _call(self, method: str, path: str, shape: type[T]) -> T:
        try:
            with httpx.Client(trust_env=False, timeout=ANSWER_SECONDS) as client:
                reply = client.request(method, self.run.url + path, headers=self._headers)
        except httpx.TransportError as error:
            raise self._silent(error) from error
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


async def _events(reply: httpx.Response) -> AsyncGenerator[TurnEvent]:
    frames = Events()
    async for chunk in reply.aiter_bytes():
        for data in frames.feed(chunk):
            if data == DONE:
                return
            yield _event(data)
    raise BackendBroken("The answer was cut: Portal closed the connection before its end.")


def _event(data: bytes) -> TurnEvent:
    try:
        return _decoder.decode(data)
    except msgspec.ValidationError:
        # The host ends a stream that failed with OpenAI's error object instead of an event.
        raise _refusal(0, data) from None


def _refusal(status: int, body: bytes) -> Refused:
    try:
        message = msgspec.json.decode(body)["error"]["message"]
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError):
        message = f"Portal answered with status {status}, and not in its own words."
    return Refused(str(message))
