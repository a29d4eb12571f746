"""What every fake program does beside its work: run on the fast loop, stop on a signal, die."""

import asyncio
import os
import signal
import sys

from tests.fakes.serving import Work


def run(main: Work) -> None:
    """Run a program's main coroutine on the fastest loop there is."""
    if sys.platform == "win32":
        asyncio.run(main)
    else:
        import uvloop

        uvloop.run(main)


async def until_signalled() -> None:
    """Wait for SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows: the default handlers end the process
            break
    await stop.wait()


def die() -> None:
    """End this process as a crash would: nothing is flushed, closed or said."""
    os._exit(17)
