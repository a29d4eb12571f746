"""The lines of a request's head, and then of its trailers, and how long they are together."""

import itertools


class HeaderLines:
    """What has come of them, told by the parser or not, within a limit in bytes.

    A line without an end is not told by the parser, so reads count too. Lines are counted only
    where the reads that brought them are longer than the limit, which they hardly ever are.
    """

    __slots__ = ("_counted", "_known", "_limit", "_read", "_reads", "_size", "_untold", "found")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._read = 0
        """Bytes of the present read."""
        self._untold = 0
        """Bytes of reads since the parser last told anything."""
        self.begin()

    def begin(self) -> None:
        """Start over: what comes now belongs to another head, or to the trailers."""
        self.found: list[tuple[bytes, bytes]] = []
        """Names, in lower case, and values."""
        self._reads = self._read
        self._counted = self._size = 0
        self._known = -1

    def begin_read(self, size: int) -> None:
        """Take note of a read, before the parser is given it."""
        self._read = size
        self._reads += size
        self._known = len(self.found)

    def tell(self) -> None:
        """Take note that the parser has told something else than a line."""
        self._known = -1

    def end_read(self, more: int) -> bool:
        """Take note that the parser has told all it knows of a read; tell what `too_long` does."""
        if len(self.found) != self._known:
            self._untold = 0
        else:
            self._untold += self._read
        return self._reads + more > self._limit and self.too_long(more)

    def too_long(self, more: int) -> bool:
        """Tell whether the lines, and so many bytes more, are over the limit."""
        if self._reads + more <= self._limit:
            return False
        for name, value in itertools.islice(self.found, self._counted, None):
            self._size += len(name) + len(value) + 4
        self._counted = len(self.found)
        return self._size + self._untold + more > self._limit
