"""Cut byte streams into their frames: SSE data fields and NDJSON lines. Pure, incremental."""

import re

from portal.shared.errors import BackendBroken

MAX_FRAME = 16 * 1024 * 1024
"""Longest line or event in bytes: what never ends would fill the memory."""

PLAIN_EVENT = re.compile(rb"data: [^\r\n]*\n\n")
"""One event, whole, in one line."""


class Lines:
    """Split bytes into lines, whatever the slices; line ends are LF or CRLF."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that `data` completes. Raises BackendBroken past MAX_FRAME."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MAX_FRAME:
            raise BackendBroken(f"The backend sent a line of more than {MAX_FRAME} bytes.")
        return [line[:-1] if line.endswith(b"\r") else line for line in lines]

    @property
    def pending(self) -> bool:
        """Whether a line has begun."""
        return bool(self._rest)

    def end(self) -> bytes:
        """Return what was left without a line end."""
        rest, self._rest = self._rest, b""
        return rest


class Events:
    """Split bytes into the data of server-sent events; comments and other fields are dropped."""

    def __init__(self) -> None:
        self._lines = Lines()
        self._data: list[bytes] = []
        self._size = 0

    @property
    def between(self) -> bool:
        """Whether all that came was whole events."""
        return not self._data and not self._lines.pending

    def feed(self, data: bytes) -> list[bytes]:
        """Return the data of each event that `data` completes."""
        if self.between and PLAIN_EVENT.fullmatch(data):
            return [data[6:-2]]  # What a model at work sends with each token.
        events = []
        for line in self._lines.feed(data):
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
                self._size += len(line)
                if self._size > MAX_FRAME:
                    raise BackendBroken(
                        f"The backend sent an event of more than {MAX_FRAME} bytes."
                    )
            elif not line and self._data:
                events.append(b"\n".join(self._data))
                self._data = []
                self._size = 0
        return events

    def end(self) -> list[bytes]:
        """Return a last event whose empty line never came: some servers leave it out."""
        return [*self.feed(b"\n\n")]
