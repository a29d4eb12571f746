"""What the commands write to: text for people, JSON for programs, notes and faults on stderr.

Owns colour (a terminal only, and not when NO_COLOR is set), encodings that lack a character, and
control characters in texts of strangers, which could otherwise rewrite the screen.
"""

import contextlib
import io
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import IO, Any, Literal, Self

Style = Literal["dim", "bold", "red", "green", "yellow"]
_CODES: Mapping[str, str] = {"dim": "2", "bold": "1", "red": "31", "green": "32", "yellow": "33"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Terminal:
    """The three streams of a command, and what each of them can show."""

    def __init__(
        self, stdin: IO[str], stdout: IO[str], stderr: IO[str], environ: Mapping[str, str]
    ) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        colours = not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        self._coloured = {id(stream): colours and stream.isatty() for stream in (stdout, stderr)}
        self.redraws = stdout.isatty() and environ.get("TERM") != "dumb"
        """Whether a line of stdout can be written over."""

    @classmethod
    def of_process(cls) -> Self:
        """Take this process's streams; a character that one cannot show becomes `?`."""
        for stream in (sys.stdin, sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        return cls(
            sys.stdin or io.StringIO(),
            sys.stdout or io.StringIO(),
            sys.stderr or io.StringIO(),
            os.environ,
        )

    @property
    def interactive(self) -> bool:
        """Whether a person can be asked and answered here."""
        return self.stdin.isatty() and self.stdout.isatty()

    @property
    def coloured(self) -> bool:
        """Whether stderr, where logs go, shows colour."""
        return self._coloured[id(self.stderr)]

    def say(self, text: str = "", *styles: Style) -> None:
        """Write a line to stdout."""
        self.write(f"{text}\n", *styles)

    def write(self, text: str, *styles: Style) -> None:
        """Write to stdout at once, without a line end."""
        self._write(self.stdout, text, styles)

    def redraw(self, text: str) -> None:
        """Write over the line that stdout stands in, where `redraws`."""
        self._write(self.stdout, f"\r{text}\x1b[K", ())

    def note(self, text: str, *, end: str = "\n") -> None:
        """Write beside the output, to stderr."""
        self._write(self.stderr, text + end, ("dim",))

    def warn(self, text: str) -> None:
        """Write a warning to stderr."""
        self._write(self.stderr, f"portal: warning: {text}\n", ("yellow",))

    def fault(self, text: str) -> None:
        """Write a fault to stderr: each line of it is a message of its own."""
        for line in text.splitlines():
            self._write(self.stderr, f"portal: {line}\n", ("red",))

    def json(self, value: Any, *, pretty: bool = True) -> None:
        """Write a value to stdout as JSON, in UTF-8 whatever the terminal's encoding is."""
        import msgspec

        encoded = msgspec.json.encode(value)
        if pretty:
            encoded = msgspec.json.format(encoded, indent=2)
        self.write_json(encoded)

    def write_json(self, encoded: bytes) -> None:
        """Write encoded JSON and a line end to stdout."""
        self.stdout.flush()
        binary = getattr(self.stdout, "buffer", None)
        if binary is None:
            self.stdout.write(encoded.decode() + "\n")
        else:
            binary.write(encoded + b"\n")
        self.stdout.flush()

    def styled(self, text: str, *styles: Style) -> str:
        """Colour a piece of a line for stdout, where stdout shows colour."""
        return _paint(text, styles) if self._coloured[id(self.stdout)] else text

    def ask(self, question: str) -> str:
        """Ask one line of the person; an end of input is an empty answer."""
        self.write(question)
        return self.stdin.readline().strip()

    def close(self) -> None:
        """Send out what is left; a reader that has left must not show at exit."""
        for stream in (self.stdout, self.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                with contextlib.suppress(OSError, ValueError):
                    null = os.open(os.devnull, os.O_WRONLY)
                    os.dup2(null, stream.fileno())
                    os.close(null)

    def _write(self, stream: IO[str], text: str, styles: Sequence[Style]) -> None:
        if self._coloured[id(stream)] and styles:
            text = _paint(text, styles)
        stream.write(text)
        stream.flush()


def clean(text: str) -> str:
    """Take the control characters out of a stranger's text, line ends and tabs excepted."""
    return _CONTROL.sub("", text)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay rows out in columns under a head."""
    cells = [[clean(cell).replace("\n", " ") for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def duration(seconds: float) -> str:
    """Say a time in the two units that matter: `3 h 12 min`."""
    whole = int(seconds)
    parts = [
        f"{amount} {unit}"
        for amount, unit in (
            (whole // 86400, "d"),
            (whole // 3600 % 24, "h"),
            (whole // 60 % 60, "min"),
            (whole % 60, "s"),
        )
        if amount
    ]
    return " ".join(parts[:2]) or "0 s"


def _paint(text: str, styles: Sequence[Style]) -> str:
    codes = ";".join(_CODES[style] for style in styles)
    body = text.rstrip("\n")
    return f"\x1b[{codes}m{body}\x1b[0m{text[len(body) :]}"
