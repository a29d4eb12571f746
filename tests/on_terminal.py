"""Runs a command on a terminal (a pty) or on pipes, to be read and typed into while it runs."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fakes.running import heed_signals

END_SECONDS = 20.0
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Command:
    """`python -m portal.runtime <words>`, under way.

    On a terminal, stdin, stdout and stderr are that terminal; otherwise stdout and stderr are one
    pipe, and stdin is empty.
    """

    def __init__(
        self, *words: str, env: Mapping[str, str], folder: Path, terminal: bool = False
    ) -> None:
        self.output = ""
        self._process: subprocess.Popen[bytes]
        command: Sequence[str] = [sys.executable, "-m", "portal.runtime", *words]
        if terminal:
            self._end, other = pty.openpty()
            stdin = stdout = other
        else:
            self._end, other = os.pipe()
            stdin, stdout = subprocess.DEVNULL, other
        try:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env={"TERM": "xterm", **env},
                stdin=stdin,
                stdout=stdout,
                stderr=stdout,
                start_new_session=True,
                preexec_fn=heed_signals,  # noqa: PLW1509 — it touches nothing that threads share
            )
        finally:
            os.close(other)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._end)

    @property
    def plain(self) -> str:
        """What it wrote so far, without colours and with plain line ends."""
        return _ESCAPES.sub("", self.output).replace("\r\n", "\n")

    def read_until(self, text: str, seconds: float = END_SECONDS) -> None:
        """Read on until `text` was written. AssertionError if it is not."""
        deadline = time.monotonic() + seconds
        while text not in self.plain:
            if not self._read(deadline):
                raise AssertionError(f"{text!r} was not written, but:\n{self.plain}")

    def type(self, text: str) -> None:
        """Type a line on the terminal."""
        os.write(self._end, f"{text}\n".encode())

    def type_end(self) -> None:
        """Type the end of the input."""
        os.write(self._end, b"\x04")

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def interrupt_until(self, text: str, times: int = 10) -> None:
        """Do what an impatient Ctrl-C does: readline overlooks one that comes as it begins to wait.

        AssertionError if `text` is not written.
        """
        for left in reversed(range(times)):
            self.interrupt()
            try:
                self.read_until(text, 2)
            except AssertionError:
                if not left:
                    raise
            else:
                return

    def wait(self, seconds: float = END_SECONDS) -> int:
        """Read to the end and return the exit status."""
        deadline = time.monotonic() + seconds
        while self._read(deadline):
            pass
        return self._process.wait(max(0.1, deadline - time.monotonic()))

    def _read(self, deadline: float) -> bool:
        """Read a piece; False at the end of the output, or when the time is over."""
        readable, _, _ = select.select([self._end], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            return False
        try:
            piece = os.read(self._end, 65536)
        except OSError:  # a terminal whose last program has ended
            return False
        self.output += piece.decode("utf-8", "replace")
        return bool(piece)
