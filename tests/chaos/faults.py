"""What can go wrong with a backend: each fault by name, how it is done, and what it may lead to.

`hurt` is what happens to the one model of each victim, `begin` and `end` do it. A fault of the
connections, `wide`, hits the model beside it as well.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from tests.chaos.stage import PACE_MS, TOKENS, Stage


class Fault(msgspec.Struct, frozen=True):
    """One way for a backend to fail."""

    name: str
    hurt: str
    """A phrase for people: what the backend does."""
    begin: Callable[[Stage], None]
    end: Callable[[Stage], None]
    wide: bool = False
    """All that goes over the backends' connections is hurt, not a single model."""
    harmless: bool = False
    """Nothing may fail from it: what is slow is not broken."""
    garbles: bool = False
    """What is hurt may pass unnoticed where bytes are relayed: only a reader would see it."""
    empties: bool = False
    """A relayed answer may be a well-formed one without a word in it."""
    forgets: bool = False
    """The backends' records are lost."""


def scripted(
    name: str, hurt: str, *, garbles: bool = False, empties: bool = False, **script: Any
) -> Fault:
    """Make a fault of one model of each victim, whose server is well otherwise."""

    def begin(stage: Stage) -> None:
        stage.script(**script)

    return Fault(name, hurt, begin, Stage.relent, garbles=garbles, empties=empties)


def carried(name: str, hurt: str, *, garbles: bool = False, **chaos: Any) -> Fault:
    """Make a fault of the way to each victim."""

    def begin(stage: Stage) -> None:
        stage.carry(**chaos)

    return Fault(name, hurt, begin, Stage.clear, wide=True, garbles=garbles)


def _drip(stage: Stage) -> None:
    stage.carry(down={"slice": 48, "delay_ms": 1})


def _unlist(stage: Stage) -> None:
    for victim in stage.victims:
        victim.fake.models(victim.neighbour)


def _list_again(stage: Stage) -> None:
    for victim in stage.victims:
        victim.fake.models(victim.model, victim.neighbour)


def _raw(*headers: str, body: str) -> bytes:
    return ("\r\n".join(("HTTP/1.1 200 OK", *headers)) + "\r\n\r\n" + body).encode()


def _refusal(status: int) -> dict[str, Any]:
    return {"status": status, "body": {"error": {"message": "chaos", "code": "chaos"}}}


_WHOLE = '{"choices":[{"index":0,"message":{"role":"assistant","content":"Echo: half an ans'
_EARLY = 'data: {"choices":[{"index":0,"delta":{"content":"Echo:"},"finish_reason":null}]}\n\n'
_ONCE = {"Retry-After": "1"}

FAULTS = (
    Fault(
        "killed",
        "its process is killed (SIGKILL) and started again",
        Stage.kill,
        Stage.restart,
        wide=True,
        forgets=True,
    ),
    carried("refuses", "connections are refused", refuse=True),
    carried("hangs up", "connections are accepted and closed", drop=True),
    carried("never answers", "accepts, takes the request, is silent", down={"stall_after": 0}),
    scripted("head only", "sends the head, then nothing", stall_after=0),
    scripted("pings only", "sends the head, then only signs of life", stall_after=0, ping_ms=100),
    scripted("stalls", "falls silent after token 20 (unplugged)", stall_after=20),
    scripted("stalls pinging", "only signs of life after token 20", stall_after=20, ping_ms=100),
    carried("cut in a chunk", "connections end after 900 bytes", down={"cut_after": 900}),
    scripted("cut in an event", "closes after 500 bytes of body", cut_after_bytes=500),
    scripted("reset", "resets the connection after token 10", cut_after=10, reset=True),
    scripted("cut at the end", "closes after the last token, its end unsaid", cut_after=TOKENS),
    scripted(
        "ends early",
        "ends in good order after one token, its end unsaid",
        raw=_raw("Content-Type: text/event-stream", "Connection: close", body=_EARLY),
    ),
    Fault(
        "drips",
        "answers in packets of 48 bytes, slowly",
        _drip,
        Stage.clear,
        wide=True,
        harmless=True,
    ),
    scripted(
        "not HTTP", "answers with bytes that are no HTTP", raw=b"\x16\x03\x01\x00\x2a\r\n\r\n"
    ),
    scripted(
        "not JSON",
        "answers 200 with a page of HTML",
        status=200,
        body="<html><body>It works!</body></html>",
        content_type="text/html",
    ),
    scripted(
        "garbage", "sends a record that is no JSON after token 10", garbage_after=10, garbles=True
    ),
    carried(
        "corrupts", "one byte of a connection is turned", garbles=True, down={"corrupt_at": 700}
    ),
    scripted("500", "refuses with 500", **_refusal(500)),
    scripted("502", "refuses with 502", **_refusal(502)),
    scripted("503", "refuses with 503, Retry-After 1", **_refusal(503), headers=_ONCE),
    scripted("429", "refuses with 429, Retry-After 1", **_refusal(429), headers=_ONCE),
    scripted(
        "fails always", "lists its models, and reports an error for each answer", error_after=0
    ),
    scripted("fails within", "reports an error after token 5", error_after=5),
    scripted("empty", "ends at once, without a word", tokens=[], empties=True),
    scripted(
        "length too long",
        "announces more bytes than it sends",
        raw=_raw("Content-Type: application/json", "Content-Length: 9999", body=_WHOLE),
    ),
    scripted(
        "length too short",
        "announces fewer bytes than it sends",
        raw=_raw("Content-Type: application/json", "Content-Length: 60", body=_WHOLE),
    ),
    scripted("endless", "never stops writing", garbles=True, tokens=[" on"] * 400, interval_ms=25),
    Fault("model missing", "the model is gone, answered 404", _unlist, _list_again),
)


def _mix(stage: Stage) -> None:
    """Hurt each victim in its own way, and both of their connections."""
    stage.script(stall_after=20, times=10)
    stage.script(cut_after=10, reset=True, times=10)
    stage.script(garbage_after=10, times=10)
    stage.script(**_refusal(500), times=10)
    stage.script(tokens=[], times=10)
    stage.script(error_after=5)
    stage.carry(sever=False, down={"cut_after": 2500}, times=10)
    stage.carry(sever=False, down={"stall_after": 1500}, times=10)
    stage.carry(sever=False, down={"slice": 48, "delay_ms": 1})


def _unmix(stage: Stage) -> None:
    for victim in stage.victims:
        victim.fake.ensure()
        victim.fake.script(interval_ms=PACE_MS)
    stage.clear()


MIXED = Fault(
    "everything",
    "all at once, each for some requests",
    _mix,
    _unmix,
    wide=True,
    garbles=True,
    empties=True,
    forgets=True,
)
