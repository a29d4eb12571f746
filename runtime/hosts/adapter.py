"""The one adapter: a bound ROUTE function as an ASGI application.

Owns what is the same for every route: admission, limits, the watch for a client that leaves,
the shape of errors, and the headers by which every answer tells the truth about itself.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable
from typing import Any
from urllib.parse import parse_qsl

from litestar.types import ASGIApp, Receive, Scope, Send

from portal.runtime.catalogue import Function
from portal.runtime.context import CallContext, Generation
from portal.runtime.hosts.body import WHOLE, ClientLeft, read_body
from portal.runtime.hosts.cycle import CYCLE, Cycle
from portal.runtime.hosts.errors import DROP, AnswerBroken
from portal.runtime.hosts.gate import LOCAL, Gate, Head, check_media_type
from portal.runtime.hosts.reply import send_error, send_result, stream_headers
from portal.runtime.hosts.stream import StreamSender
from portal.shared.contract import Call, RawRequest, Route, Stream
from portal.shared.contract import Scope as RouteScope
from portal.shared.errors import PortalError, ShuttingDown
from portal.shared.ids import new_id

log = logging.getLogger("portal.host")

WATCH_AFTER = 0.02
"""Seconds before a running call is watched for its client leaving, where the server does not tell:
a short one needs no watcher."""

LAST_WORDS = 0.5
"""Seconds that a cut call may take to tell its client so; one that does not read is let go."""


class Host:
    """What the adapter needs of the process: the current generation, its gate, and the calls."""

    def __init__(self, generation: Generation, gate: Gate) -> None:
        self.generation = generation
        self.gate = gate
        self.accepting = False
        """Whether work is taken: from the end of the start to the beginning of the stop."""
        self.calls: set[asyncio.Task[Any]] = set()
        self.cut: set[asyncio.Task[Any]] = set()
        """Calls cancelled because the process stops, as opposed to a client that left."""

    def cut_calls(self) -> None:
        """Cancel every call still running; each tells its client `shutting_down`."""
        for task in tuple(self.calls):
            self.cut.add(task)
            task.cancel()


def mount(host: Host, function: Function) -> ASGIApp:
    """Make the ASGI application of one ROUTE function."""
    route = function.trigger
    assert isinstance(route, Route)

    def application(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return Exchange(host, function, route, scope, receive, send).run()

    return application


class Exchange:
    """One request on its way through one function."""

    __slots__ = (
        "_call",
        "_cycle",
        "_function",
        "_heartbeat",
        "_host",
        "_left",
        "_receive",
        "_replying",
        "_route",
        "_scope",
        "_send",
        "_sender",
        "_task",
        "_timer",
        "_watcher",
    )

    def __init__(
        self,
        host: Host,
        function: Function,
        route: Route,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self._host = host
        self._function = function
        self._route = route
        self._scope: Any = scope
        self._receive = receive
        self._send = send
        self._call = Call(new_id(), LOCAL, function.name, time.perf_counter())
        self._left = False
        self._heartbeat = 0.0
        self._replying = False
        self._sender: StreamSender | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        cycle: Any = scope.get(CYCLE)
        self._cycle: Cycle | None = cycle
        self._task: Any = asyncio.current_task() if cycle is None else cycle.task

    async def run(self) -> None:
        """Answer, whatever happens; an error's answer is sent unless headers have gone out."""
        host, task = self._host, self._task
        host.calls.add(task)
        try:
            # Every call between here and a stream's items is gone through with each token.
            try:
                result = await self._result()
                if isinstance(result, Stream):
                    await self._sender_of(result).run(self._heartbeat)
                else:
                    self._replying = True
                    head_only = self._scope["method"] == "HEAD"
                    await send_result(self._send, result, self._call, head_only=head_only)
            except ClientLeft:
                pass
            except asyncio.CancelledError:
                if not self._is_ours():
                    raise
                self._unwatch()
                if not self._left:
                    await self._say_cut()
            except AnswerBroken:
                raise
            except Exception as error:
                if not isinstance(error, PortalError):
                    log.exception("%s failed (request %s)", self._function.name, self._call.id)
                await send_error(self._send, error, self._call, self._scope["path"])
        except asyncio.CancelledError:
            # Once more, or while an error was sent: what has been said so far has to do.
            if not self._is_ours():
                raise
            self._drop()
        except AnswerBroken as error:
            log.warning("%s: %s (request %s)", self._function.name, error, self._call.id)
            if not self._drop():
                raise  # A server that has no such hook cuts the connection on an exception.
        finally:
            self._unwatch()
            host.calls.discard(task)
            host.cut.discard(task)

    def _is_ours(self) -> bool:
        """Tell whether it was the host that cancelled this call, and take that back if so."""
        if not self._left and self._task not in self._host.cut:
            return False
        while self._task.uncancel():
            pass
        return True

    async def _result(self) -> Any:
        """Admit the request, and let the function answer it."""
        host, function, scope, call = self._host, self._function, self._scope, self._call
        generation = host.generation
        server = generation.settings.server
        self._heartbeat = server.heartbeat_seconds
        if not host.accepting and self._route.scope is not RouteScope.PUBLIC:
            raise ShuttingDown("Portal is starting or shutting down.")
        head: Head = scope["portal.head"]
        path: str = scope["path"]
        call.caller = host.gate.caller_for(head, self._route.scope, path)
        method: str = scope["method"]
        check_media_type(method, head.headers)
        body = await read_body(
            self._receive,
            head.headers,
            limit=self._route.max_body,
            pause=server.body_seconds,
            whole=WHOLE in scope,
        )
        # Not before: until then the body's reader is the one that hears of a client that leaves.
        self._watch()
        raw = RawRequest(
            method,
            path,
            {name: value.lstrip("/") for name, value in scope["path_params"].items()},
            _query(scope["query_string"]),
            head.headers,
            body,
        )
        request = function.decode(raw)
        context = CallContext(generation, call)
        if function.blocking:
            return await asyncio.to_thread(function.handle, request, context)
        return await function.handle(request, context)

    def _sender_of(self, stream: Stream) -> StreamSender:
        call = self._call
        self._sender = StreamSender(
            stream, self._send, lambda: stream_headers(stream, call), self._unwatch
        )
        return self._sender

    def _watch(self) -> None:
        """Have the call cancelled as soon as its client leaves; Portal's own server tells that."""
        if self._cycle is not None:
            self._cycle.watch(self._leave)
        else:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(WATCH_AFTER, self._begin_to_listen)

    def _leave(self) -> None:
        self._left = True
        self._task.cancel()

    def _begin_to_listen(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        while True:
            message: Any = await self._receive()
            if message["type"] == "http.disconnect":
                self._leave()
                return

    def _unwatch(self) -> None:
        """End the watch: after the last byte, the end of the request is no client that leaves."""
        if self._cycle is not None:
            self._cycle.watch(None)
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

    async def _say_cut(self) -> None:
        """Tell the client that the process stops: as an error, or as the last event of a stream."""
        error = ShuttingDown("Portal is shutting down; this answer was cut.")
        sender = self._sender
        try:
            async with asyncio.timeout(LAST_WORDS):
                if self._replying:
                    raise AnswerBroken(error.message)
                if sender is None or not sender.started:
                    await send_error(self._send, error, self._call, self._scope["path"])
                elif not sender.ended:
                    await sender.end_with(error)
        except TimeoutError:
            raise AnswerBroken(f"{error.message} Its client does not read.") from None

    def _drop(self) -> bool:
        """End the connection where the server lets us; no more can be sent in order."""
        if self._sender is not None and self._sender.ended:
            return True  # The connection serves another request by now.
        drop = self._scope.get(DROP)
        if drop is None:
            return False
        drop()
        return True


def _query(raw: bytes) -> dict[str, str]:
    if not raw:
        return {}
    return dict(parse_qsl(raw.decode("latin-1"), keep_blank_values=True, errors="replace"))
