"""Read HTTP/1.1 answers from bytes, however they are sliced, into the exchange that runs.

Owns framing: where the answer ends, what it may hold, whether the connection is in step after it.
llhttp (strict) refuses what is malformed; this adds the limits, and what only a client can judge.
"""

import httptools
import httpx

from portal.runtime.backends.exchange import BODY, DONE, HEAD, WAITING, Exchange

HEAD_LIMIT = 64 * 1024
"""Most bytes of an answer's head, interim answers included; as much again for its trailers."""


class AnswerParser:
    """The answers of one connection, one exchange after the other."""

    __slots__ = (
        "_exchange",
        "_extra",
        "_fault",
        "_head_seen",
        "_keep",
        "_parser",
        "_silent",
        "_trailers",
    )

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._exchange: Exchange
        self._keep = False
        self._extra = False
        self._fault: httpx.RemoteProtocolError | None = None
        self._head_seen = 0
        self._trailers = 0
        self._silent = 0

    def begin(self, exchange: Exchange) -> None:
        """Read the next answer into `exchange`."""
        self._exchange = exchange
        self._extra = False
        self._head_seen = self._trailers = self._silent = 0

    def close(self) -> None:
        """Let go of the parser in C, which refers back to this object; feed no more."""
        del self._parser

    def feed(self, data: bytes) -> httpx.RemoteProtocolError | None:
        """Advance the exchange; return what is wrong with the answer, if anything is."""
        exchange = self._exchange
        if exchange.phase < BODY:
            error = self._feed_head(exchange, data)
        else:
            held = exchange.held
            error = self._feed(data)
            if exchange.held == held:
                self._silent += len(data)
                if self._silent > 2 * HEAD_LIMIT and error is None:
                    error = _too_long("a chunk's size line or the trailers")
            else:
                self._silent = 0
        if exchange.phase == DONE:
            return self._completed(exchange, error)
        return error

    def in_step(self) -> bool:
        """Tell whether the connection can carry another exchange after a complete answer."""
        return self._keep and not self._extra

    def end(self) -> httpx.RemoteProtocolError | None:
        """Take note that no byte follows; completes an answer that ends so, else says the fault."""
        exchange = self._exchange
        if self._head_seen == 0:
            return httpx.RemoteProtocolError("it was closed before any byte of an answer")
        if exchange.phase < BODY:
            return httpx.RemoteProtocolError("it was closed within the answer's head")
        if self._keep or _has(exchange, b"content-length") or _has(exchange, b"transfer-encoding"):
            return httpx.RemoteProtocolError("it was closed before the end of the answer's body")
        exchange.phase = DONE
        return None

    @property
    def untouched(self) -> bool:
        """Whether no byte of the answer has come."""
        return self._head_seen == 0

    def _feed(self, data: bytes) -> httpx.RemoteProtocolError | None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return self._fault or _switched()
        except httptools.HttpParserError as error:
            return self._fault or httpx.RemoteProtocolError(
                f"the answer is malformed: {str(error) or type(error).__name__}"
            )
        return self._fault

    def _feed_head(self, exchange: Exchange, data: bytes) -> httpx.RemoteProtocolError | None:
        """Feed bytes of which at most HEAD_LIMIT may belong to the head."""
        room = HEAD_LIMIT - self._head_seen
        self._head_seen += len(data)
        if len(data) <= room:
            return self._feed(data)
        error = self._feed(data[:room])
        if error is None and exchange.phase < BODY:
            return _too_long("the answer's head")
        return error or self._feed(data[room:])

    def _completed(
        self, exchange: Exchange, error: httpx.RemoteProtocolError | None
    ) -> httpx.RemoteProtocolError | None:
        if exchange.head_only:
            # The parser does not know that no body follows this head: its state is of no use.
            self._parser = httptools.HttpResponseParser(self)
        if error is None or self._fault is not None:
            return error
        # The answer was complete; what follows it is no second one.
        self._extra = True
        if (
            exchange.head_only
            or exchange.status in {204, 304}
            or not _has(exchange, b"content-length")
        ):
            return None
        return httpx.RemoteProtocolError("the answer's body is longer than its content-length")

    # For the parser in C. An exception raised here would lose its type: faults are noted instead.

    def on_message_begin(self) -> None:
        exchange = self._exchange
        if exchange.phase == DONE:
            self._extra = True
        else:
            exchange.phase = HEAD

    def on_header(self, name: bytes, value: bytes) -> None:
        exchange = self._exchange
        if exchange.phase == HEAD:
            name = name.lower()
            if name == b"transfer-encoding" and value.lower() != b"chunked":
                self._fault = httpx.RemoteProtocolError(
                    f"the answer's transfer-encoding is {value[:40]!r}, and only chunked is read"
                )
            exchange.headers.append((name, value))
        elif exchange.phase == BODY:
            self._trailers += len(name) + len(value) + 4
            if self._trailers > HEAD_LIMIT:
                self._fault = _too_long("the answer's trailers")

    def on_headers_complete(self) -> None:
        exchange = self._exchange
        if exchange.phase == DONE:
            return
        status = self._parser.get_status_code()
        if status < 200:
            if status == 101:
                self._fault = _switched()
            elif status < 100:
                self._fault = _no_status(status)
            exchange.headers.clear()
            return
        if status > 599:
            self._fault = _no_status(status)
            return
        exchange.status = status
        self._keep = self._parser.should_keep_alive()
        exchange.phase = DONE if exchange.head_only else BODY

    def on_body(self, body: bytes) -> None:
        if self._exchange.phase == BODY:
            self._exchange.add(body)
        else:
            self._extra = True

    def on_message_complete(self) -> None:
        exchange = self._exchange
        if exchange.phase == BODY:
            exchange.phase = DONE
        elif exchange.phase == HEAD:
            exchange.phase = WAITING  # that was an interim answer


def _has(exchange: Exchange, name: bytes) -> bool:
    return any(header == name for header, _ in exchange.headers)


def _too_long(what: str) -> httpx.RemoteProtocolError:
    return httpx.RemoteProtocolError(f"{what} did not end within {HEAD_LIMIT} bytes")


def _no_status(status: int) -> httpx.RemoteProtocolError:
    return httpx.RemoteProtocolError(f"the answer's status is {status}, expected 100 to 599")


def _switched() -> httpx.RemoteProtocolError:
    return httpx.RemoteProtocolError(
        "the answer switches to another protocol (101), which was not asked for"
    )
