"""A turn's events as server-sent events, and a failure as the last of them."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import msgspec

from portal.shared.contract import Stream
from portal.shared.errors import PortalError
from portal.shared.turns import Error, TurnEvent

_encode = msgspec.json.Encoder().encode


def stream_turn(events: AsyncGenerator[TurnEvent, None]) -> Stream:
    """Send out the events of a turn as they come, then `[DONE]`."""
    return Stream(_encoded(events), on_error=_told)


def _told(error: Exception) -> bytes:
    """End the stream with an event of the turn's own kind; its line ends close one cut in half."""
    if isinstance(error, PortalError):
        event = Error(error.code, error.message)
    else:
        event = Error(PortalError.code, "Portal failed on this turn; the log has the details.")
    return b"\n\ndata: " + _encode(event) + b"\n\n"


async def _encoded(events: AsyncGenerator[TurnEvent, None]) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(events):
        async for event in events:
            yield b"data: " + _encode(event) + b"\n\n"
    yield b"data: [DONE]\n\n"
