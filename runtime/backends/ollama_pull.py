"""The progress of a download as Ollama tells it: NDJSON lines, and when they stand still."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec

from portal.runtime.backends.failures import words_of
from portal.runtime.backends.framing import Lines
from portal.shared.errors import BackendBroken, BackendRefused, BackendTimeout
from portal.shared.model_operations import PullProgress

LAST = "success"


class _Line(msgspec.Struct):
    status: str = ""
    digest: str = ""
    completed: int | None = None
    total: int | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Line).decode


async def decode_progress(
    chunks: AsyncIterator[bytes], model: str, backend: str, stall: float, quiet: float
) -> AsyncGenerator[PullProgress, None]:
    """Turn the body of `/api/pull` into steps; the last has the status `success`.

    Ollama repeats a line while nothing moves, so bytes are no sign of life: BackendTimeout is
    raised `stall` seconds after the last change while a part is fetched, and `quiet` seconds after
    it elsewhere, since checking a large file takes minutes. Raises BackendRefused for an error
    in a line, BackendBroken for a stream that is malformed or ends early.
    """
    loop = asyncio.get_running_loop()
    lines, last = Lines(), PullProgress("")
    deadline = loop.time() + quiet
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                data = await anext(chunks, None)
        except TimeoutError:
            data = b""
        ended = data is None
        found = [lines.end()] if data is None else lines.feed(data)
        for raw in found:
            step = _read(raw, model, backend)
            if step is None or step == last:
                continue
            yield step
            if step.status == LAST:
                return
            last = step
            deadline = loop.time() + (stall if _fetching(step) else quiet)
        if ended:
            raise BackendBroken(
                f"The backend {backend!r} ended the download of {model!r} before it was complete. "
                "Pull it again: it goes on where it stopped.",
                backend=backend,
            )
        # Lines that lie ready are read without a wait that could time out, hence the clock.
        if loop.time() >= deadline:
            raise BackendTimeout(
                f"The download of {model!r} to the backend {backend!r} stands still at "
                f"{last.status or 'nothing'!r}. Pull it again: it goes on where it stopped.",
                backend=backend,
            )


def _fetching(step: PullProgress) -> bool:
    return step.total is not None and (step.completed or 0) < step.total


def _read(raw: bytes, model: str, backend: str) -> PullProgress | None:
    if not raw.strip():
        return None
    try:
        line = _decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BackendBroken(
            f"The backend {backend!r} sent a line that tells no progress: {error}.", backend=backend
        ) from error
    if line.error is not None:
        said = words_of(line.error)
        unknown = "file does not exist" in said or "not found" in said
        hint = f" Is {model!r} the name of a model in its library?" if unknown else ""
        raise BackendRefused(
            f"The backend {backend!r} could not pull {model!r}: {said}.{hint}",
            backend=backend,
            status=404 if unknown else 502,
        )
    return PullProgress(line.status, line.digest, line.completed, line.total)
