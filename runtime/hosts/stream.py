"""Send a Stream over ASGI: headers with the first item, heartbeats before it, an end that tells.

A stream that breaks never looks complete: it ends with an error that its media type can say, or
it is cut.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from litestar.types import Send

from portal.runtime.hosts.errors import AnswerBroken, sse_error
from portal.shared.contract import Stream
from portal.shared.errors import PortalError

HEARTBEAT = b": waiting for the model\n\n"
log = logging.getLogger("portal.host")

StartHeaders = Callable[[], list[tuple[bytes, bytes]]]


class StreamSender:
    """One stream on its way to one client; owns whether headers have gone out."""

    def __init__(
        self,
        stream: Stream,
        send: Send,
        start_headers: StartHeaders,
        ended: Callable[[], None],
    ) -> None:
        self._stream = stream
        self._send = send
        self._start_headers = start_headers
        self._tell_ended = ended
        self._is_sse = stream.media_type.startswith("text/event-stream")
        self.started = False
        self.ended = False

    async def run(self, heartbeat: float) -> None:
        """Send all of it. An error before the first byte is raised; a later one ends the stream.

        `heartbeat` is in seconds. The items are closed in every case, also when cancelled. Raises
        AnswerBroken for a later error that the media type cannot say.
        """
        stream = self._stream
        items = stream.items
        try:
            try:
                first = await self._first(heartbeat)
                await self._start()
                if first is not None:
                    await self._body(first)
                    async for item in items:
                        await self._body(item)
            except Exception as error:
                if not self.started:
                    raise
                if not isinstance(error, PortalError):
                    log.exception("a stream failed after it had begun")
                await self.end_with(error)
            else:
                await self._end()
        finally:
            await _close(items)

    async def end_with(self, error: Exception) -> None:
        """Send the error as the stream's last bytes; AnswerBroken if its media type has none."""
        if self._stream.on_error is not None:
            await self._body(self._stream.on_error(error))
        elif self._is_sse:
            await self._body(sse_error(error))
        else:
            raise AnswerBroken(str(error)) from error
        await self._end()

    async def _end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        self.ended = True
        self._tell_ended()

    async def _first(self, heartbeat: float) -> bytes | None:
        if not self._is_sse:
            return await anext(self._stream.items, None)
        loop = asyncio.get_running_loop()
        beating: asyncio.Task[None] | None = None

        def begin() -> None:
            nonlocal beating
            beating = loop.create_task(self._beat(heartbeat))

        timer = loop.call_later(0 if self._stream.overdue else heartbeat, begin)
        try:
            return await anext(self._stream.items, None)
        finally:
            timer.cancel()
            if beating is not None:
                beating.cancel()
                # wait() does not raise the beat's own cancellation, yet lets ours through.
                await asyncio.wait((beating,))

    async def _beat(self, interval: float) -> None:
        while True:
            await self._start()
            await self._body(HEARTBEAT)
            await asyncio.sleep(interval)

    async def _start(self) -> None:
        if self.started:
            return
        self.started = True
        await self._send(
            {
                "type": "http.response.start",
                "status": self._stream.status,
                "headers": self._start_headers(),
            }
        )

    def _body(self, data: bytes) -> Awaitable[None]:
        return self._send({"type": "http.response.body", "body": data, "more_body": True})


async def _close(items: object) -> None:
    close = getattr(items, "aclose", None)
    if close is not None:
        await close()
