"""Logging, set up once for the process: readable on a terminal, JSON lines everywhere else.

Everything logs through the standard library; structlog only words the lines. A secret of the
settings that finds its way into a message is masked here, as the last thing before it is written.
"""

import json
import logging
from collections.abc import Callable, Iterable
from typing import IO, Any

import structlog

QUIET = ("uvicorn", "litestar", "httpx", "httpcore", "asyncio")
"""Libraries whose ordinary news concern nobody."""
MASK = "****"
_SHORTEST_SECRET = 4
"""Shorter ones would mask ordinary words, and protect nothing."""


def configure(stream: IO[str], *, coloured: bool, secrets: Iterable[str] = ()) -> None:
    """Send the log to a stream, from INFO on; replaces what was configured before."""
    before: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=before,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_rendering(readable=stream.isatty(), coloured=coloured),
            masking(secrets),
        ],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("portal").setLevel(logging.INFO)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # A full disk or a closed terminal must not print a traceback for every line.
    logging.raiseExceptions = False
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def masking(secrets: Iterable[str]) -> Callable[[Any, str, Any], Any]:
    """Make the last processor: it masks these secrets, as they are and as JSON writes them."""
    forms = {
        form
        for secret in secrets
        if len(secret) >= _SHORTEST_SECRET
        for form in (secret, json.dumps(secret)[1:-1])
    }
    longest_first = sorted(forms, key=len, reverse=True)

    def mask(_: Any, __: str, line: Any) -> Any:
        for secret in longest_first:
            line = line.replace(secret, MASK)
        return line

    return mask


def _rendering(*, readable: bool, coloured: bool) -> list[Any]:
    if readable:
        return [
            structlog.dev.ConsoleRenderer(
                colors=coloured, exception_formatter=structlog.dev.plain_traceback
            )
        ]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
