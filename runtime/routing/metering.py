"""Measure an answer as it passes: whose time it took, and how many tokens it was."""

import contextlib
import time
from collections.abc import AsyncGenerator

from portal.shared.contract import Call
from portal.shared.models import UsageRecord
from portal.shared.ports import UsageLog
from portal.shared.turns import Finish, ModelEvent, Usage


async def metered(
    call: Call,
    log: UsageLog,
    backend: str,
    model: str,
    events: AsyncGenerator[ModelEvent, None],
) -> AsyncGenerator[ModelEvent, None]:
    """Pass a backend's events on, counted exactly once, however they end.

    The wait for each is booked as the backend's time, not Portal's own. One generator does both,
    since a layer more is paid for with every token.
    Where the backend does not count itself, a Usage estimated from its pieces precedes Finish.
    An answer that never began is not counted.
    """
    pieces = 0
    counted = False
    try:
        async with contextlib.aclosing(events) as source:
            while True:
                call.begin_wait()
                try:
                    event = await anext(source, None)
                finally:
                    call.end_wait()
                match event:
                    case None:
                        return
                    case Usage():
                        counted = True
                        log.record(usage_record(call, backend, model, event))
                    case Finish() if not counted:
                        counted = True
                        estimate = Usage(0, pieces, estimated=True)
                        log.record(usage_record(call, backend, model, estimate))
                        yield estimate
                    case Finish():
                        pass
                    case _:
                        pieces += 1
                yield event
    finally:
        if pieces and not counted:
            log.record(usage_record(call, backend, model, Usage(0, pieces, estimated=True)))


def usage_record(call: Call, backend: str, model: str, usage: Usage) -> UsageRecord:
    """Say who used what, now."""
    return UsageRecord(
        time.time(),
        call.caller.user,
        call.caller.key,
        backend,
        model,
        usage.input_tokens,
        usage.output_tokens,
        usage.estimated,
    )
