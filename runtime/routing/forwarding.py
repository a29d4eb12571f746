"""Hand on the answer of a server as it comes, where no model is asked and nothing is judged."""

from collections.abc import Awaitable, Callable

from portal.runtime.backends.backend import Reply
from portal.runtime.routing.relayed_head import split_head, typed
from portal.shared.contract import RawReply, Stream

LIMIT = 64 * 1024 * 1024
"""Bytes of an answer that is no stream."""
STREAMED = ("application/x-ndjson", "text/event-stream")
"""Media types that come piece by piece."""

Changed = Callable[[], Awaitable[None]]


class ForwardedStream:
    """A server's bytes on their way; `changed` is awaited before their end is told.

    A class, since a generator that was never started runs no clean-up when it is closed.
    """

    def __init__(self, reply: Reply, changed: Changed | None) -> None:
        self._reply = reply
        self._chunks = aiter(reply)
        self._changed = changed

    def __aiter__(self) -> "ForwardedStream":
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            if self._changed is not None:
                await self._changed()
            raise

    async def aclose(self) -> None:
        """Close the server's connection, at once when it is not at its end."""
        await self._reply.aclose()


async def forward(reply: Reply, method: str, *, changed: Changed | None) -> RawReply | Stream:
    """Make a result of an answer under way: a stream stays one, all else is read.

    `changed` is awaited when the answer is there. Raises BackendBroken and BackendTimeout.
    """
    media_type, headers = split_head(reply)
    if method != "HEAD" and media_type.startswith(STREAMED):
        items = ForwardedStream(reply, changed)
        return Stream(items, media_type=media_type, status=reply.status, headers=headers)
    try:
        body = await reply.read(LIMIT)
    finally:
        await reply.aclose()
    if changed is not None:
        await changed()
    return RawReply(reply.status, typed(media_type, headers), body)
