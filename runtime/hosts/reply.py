"""Send results that are not streams, and errors, over ASGI."""

import asyncio
import os
import re
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import msgspec
from litestar.types import Send

from portal.runtime.hosts.errors import (
    AnswerBroken,
    answer_for,
    error_body,
    error_headers,
    openai_error,
)
from portal.shared.contract import Call, FileReply, RawReply, Stream
from portal.shared.errors import NotFound

Headers = list[tuple[bytes, bytes]]
JSON_TYPE = (b"content-type", b"application/json")
NOSNIFF = (b"x-content-type-options", b"nosniff")
STREAM_HEADERS = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
UNPRINTABLE = re.compile(r"[^ -~]")
HEADER_LENGTH = 500
FILE_CHUNK = 256 * 1024
encode = msgspec.json.Encoder().encode


def truth_headers(call: Call) -> Headers:
    """The headers by which an answer tells about itself: id, route, overhead, dropped fields."""
    now = time.perf_counter() if call.waiting_since is None else call.waiting_since
    headers = [
        (b"x-request-id", call.id.encode()),
        (b"x-portal-overhead-ms", b"%.2f" % ((now - call.started - call.waited) * 1000)),
        NOSNIFF,
    ]
    if call.route:
        headers.append((b"x-portal-route", _header(call.route)))
    if call.context:
        headers.append((b"x-portal-context", _header(call.context)))
    if call.dropped:
        headers.append((b"x-portal-dropped", _header(", ".join(call.dropped))))
    return headers


def _header(text: str) -> bytes:
    """Make text that a client chose fit for a header: printable ASCII, of bounded length."""
    text = text[:HEADER_LENGTH]
    if not (text.isascii() and text.isprintable()):
        text = UNPRINTABLE.sub("?", text)
    return text.encode("ascii")


def stream_headers(stream: Stream, call: Call) -> Headers:
    """The headers of a stream, made when its first item is there and the route is known.

    What the stream itself says of caching and buffering wins.
    """
    said = {name for name, _ in stream.headers}
    return [
        (b"content-type", stream.media_type.encode("latin-1")),
        *(header for header in STREAM_HEADERS if header[0] not in said),
        *truth_headers(call),
        *stream.headers,
    ]


async def send_result(send: Send, result: Any, call: Call, *, head_only: bool = False) -> None:
    """Send a Struct as JSON, a RawReply as it is, a FileReply from the disk, None as 204.

    `head_only`: the body is only measured where that saves reading it; the server leaves it out.
    """
    if isinstance(result, RawReply):
        headers = [*result.headers, *truth_headers(call)]
        await _send_whole(send, result.status, headers, result.body)
    elif isinstance(result, FileReply):
        await _send_file(send, result, call, head_only)
    elif result is None:
        await _send_whole(send, 204, truth_headers(call), b"")
    else:
        await _send_whole(send, 200, [JSON_TYPE, *truth_headers(call)], encode(result))


async def send_error(send: Send, error: Exception, call: Call, path: str) -> None:
    """Send an error's status, headers and body, in the shape of the API at this path."""
    status = answer_for(error).status
    headers = [JSON_TYPE, *error_headers(error), *truth_headers(call)]
    if status in (408, 413):
        # The rest of the body will not be read, so the connection cannot serve another request.
        headers.append((b"connection", b"close"))
    await _send_whole(send, status, headers, error_body(error, path))


def whole_answer(error: Exception) -> bytes:
    """Write an error as all the bytes of an answer that ends its connection.

    In OpenAI's shape: this is for what is no request yet.
    """
    status, body = answer_for(error).status, openai_error(error)
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


async def _send_whole(send: Send, status: int, headers: Headers, body: bytes) -> None:
    if status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _send_file(send: Send, reply: FileReply, call: Call, head_only: bool) -> None:
    try:
        file, size = await _open(reply.path)
    except OSError as error:
        raise NotFound(f"The file {reply.path.name!r} cannot be read.") from error
    with file:
        headers = [
            (b"content-type", reply.media_type.encode("latin-1")),
            (b"content-length", b"%d" % size),
            *truth_headers(call),
        ]
        if reply.download is not None:
            name = quote(reply.download)
            headers.append(
                (b"content-disposition", f"attachment; filename*=UTF-8''{name}".encode())
            )
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        left = 0 if head_only else size
        while left:
            try:
                chunk = await asyncio.to_thread(file.read, min(FILE_CHUNK, left))
            except OSError as error:
                raise AnswerBroken(f"{reply.path.name!r} cannot be read any more") from error
            if not chunk:
                raise AnswerBroken(f"{reply.path.name!r} became shorter while it was sent")
            left -= len(chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _open(path: Path) -> tuple[BinaryIO, int]:
    """Open a file and measure it, in a thread; cancelled meanwhile, the file is closed there."""
    opening = asyncio.get_running_loop().run_in_executor(None, _open_now, path)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_opened)
        raise


def _open_now(path: Path) -> tuple[BinaryIO, int]:
    file = path.open("rb")
    try:
        return file, os.fstat(file.fileno()).st_size
    except BaseException:
        file.close()
        raise


def _close_opened(opening: asyncio.Future[tuple[BinaryIO, int]]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[0].close()
