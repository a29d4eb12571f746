"""The program of the embedded model's process: `python -m portal.runtime.backends.embedded_child`.

One JSON line on stdin configures it, so that the key is not in the process list. One JSON line on
stdout (`Ready` or `Failed`) says how it went. It ends when stdin does, hence with its parent,
however that one ended. Everything else that it or the native code prints goes to stderr.
"""

import contextlib
import ctypes
import http.client
import importlib
import os
import signal
import socket
import stat
import sys
import threading
import time
from typing import Any, BinaryIO

import msgspec

HOST = "127.0.0.1"
LOG_LIMIT = 1 << 20
"""Bytes of stderr after which it starts anew, when it is a file."""
HTTP_THREADS = 64
"""An open connection holds a thread of the native server, so this bounds connections."""
BATCH = 512
"""Prompt tokens per step; between steps the server notices that a client has left."""
PROMPT_CACHE_MIB = 64
"""Memory for prompts of other conversations than the last, about 2,900 tokens."""
PR_SET_PDEATHSIG = 1


class Configuration(msgspec.Struct, frozen=True):
    """What the parent sends."""

    model_path: str
    model_name: str
    api_key: str
    port: int
    threads: int
    """Threads that write tokens."""
    batch_threads: int
    """Threads that read prompts."""
    context_window: int
    parent_pid: int
    chat_template: str = ""
    """Jinja; empty: the one in the weights."""
    temperature: float | None = None
    """Used where a request names none; None: the server's own."""


class Ready(msgspec.Struct, frozen=True, tag="ready", tag_field="event"):
    """The server answers; `context_window` is what it really has."""

    port: int
    context_window: int


class Failed(msgspec.Struct, frozen=True, tag="failed", tag_field="event"):
    """The server could not start; `port_taken`: another port would help."""

    reason: str
    port_taken: bool = False


def main() -> int:
    """Serve until stdin ends; exit status 1 when the server could not start."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the group; the parent decides
    replies = _claim_stdout()
    source = sys.stdin.buffer
    configuration = msgspec.json.decode(source.readline(), type=Configuration)
    _die_with_parent(configuration.parent_pid)
    threading.Thread(target=_exit_at_end_of, args=(source,), daemon=True).start()
    threading.Thread(target=_bound_log, daemon=True).start()
    try:
        server = _serve(configuration)
        context_window = _first_answer(configuration)
    except Exception as error:  # noqa: BLE001 — whatever it is, the parent is told
        failed = Failed(
            f"{type(error).__name__}: {error}".rstrip("."), _is_taken(configuration.port)
        )
        _say(replies, failed)
        return 1
    _say(replies, Ready(configuration.port, context_window))
    while server:
        signal.pause()
    return 0


def _claim_stdout() -> BinaryIO:
    """Keep stdout for the one line, and send what native code prints there to stderr."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return replies


def _say(replies: BinaryIO, event: Ready | Failed) -> None:
    with contextlib.suppress(BrokenPipeError):
        replies.write(msgspec.json.encode(event) + b"\n")
        replies.flush()


def _die_with_parent(parent_pid: int) -> None:
    """Have Linux kill this process with its parent, even while native code holds every thread."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # it ended before this was in force
        os._exit(1)


def _exit_at_end_of(source: BinaryIO) -> None:
    with contextlib.suppress(OSError):
        while source.read(4096):
            pass
    os._exit(0)


def _bound_log() -> None:
    while True:
        time.sleep(60)
        cut_log(2)


def cut_log(descriptor: int) -> None:
    """Empty a log file that has grown past the limit; it must be open for appending."""
    with contextlib.suppress(OSError):
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_size > LOG_LIMIT:
            os.ftruncate(descriptor, 0)


def _serve(configuration: Configuration) -> Any:
    """Load the model and listen; the object keeps the server alive."""
    xllamacpp = importlib.import_module("xllamacpp")  # it has no types; 34 MB, hence only here
    params = xllamacpp.CommonParams()
    params.model.path = configuration.model_path
    params.model_alias = {configuration.model_name}
    params.hostnames = [HOST]
    params.port = configuration.port
    params.reuse_port = False
    params.n_threads_http = HTTP_THREADS
    params.api_keys = [configuration.api_key]
    params.ui = False
    params.endpoint_slots = False  # it shows the prompts of others
    # An empty origin is one that no page has, and the only way to grant none.
    params.cors_origins = ""
    params.cors_methods = ""
    params.cors_headers = ""
    params.cors_credentials = False
    # One slot: two that share a window fail together when it is full, and two windows of
    # their own cost a second one's memory. Requests queue; the prompt cache keeps turns fast.
    params.n_parallel = 1
    params.n_ctx = configuration.context_window
    params.kv_unified = False
    params.n_batch = BATCH
    params.n_ubatch = BATCH
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.cpuparams.n_threads = configuration.threads
    params.cpuparams_batch.n_threads = configuration.batch_threads
    if configuration.chat_template:
        params.chat_template = configuration.chat_template
    if configuration.temperature is not None:
        params.sampling.temp = configuration.temperature
    params.fit_params = False  # would load the model twice to measure it
    params.verbosity = 1  # errors; it warns about every repeated prompt
    return xllamacpp.Server(params)


def _first_answer(configuration: Configuration) -> int:
    """Wait until the server is healthy; returns the window that it really has, in tokens."""
    while True:
        connection = http.client.HTTPConnection(HOST, configuration.port, timeout=10)
        try:
            connection.request(
                "GET", "/props", headers={"Authorization": f"Bearer {configuration.api_key}"}
            )
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status == http.client.OK:
            settings = msgspec.json.decode(body)["default_generation_settings"]
            return int(settings["n_ctx"])
        if response.status != http.client.SERVICE_UNAVAILABLE:
            raise RuntimeError(f"/props answered {response.status}")
        time.sleep(0.05)  # still loading; the parent bounds the whole


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


if __name__ == "__main__":
    sys.exit(main())
