"""The chaos suite: a short run of it, and that its own eyes see what goes wrong."""

import json
from typing import Any

import pytest

from tests.chaos import report
from tests.chaos.client import Heard
from tests.chaos.driver import Plan
from tests.chaos.faults import FAULTS, MIXED, Fault
from tests.chaos.judging import compare, index, unnoticed
from tests.chaos.ledger import Entry, Phase, enter, error_types, unjust
from tests.chaos.mix import KINDS, Kind, mark
from tests.chaos.reading import read
from tests.chaos.run import run
from tests.chaos.stage import KEY, LIMITS, TOKENS, staged
from tests.checkout import ROOT
from tests.fakes.asking import ask, ask_ollama, connect, read_until
from tests.harness import Fake, Recorded

SHORT = ("killed", "stalls", "not JSON")
PLAN = Plan(clients=8, before=20, during=60, after=20)
BY_NAME = {fault.name: fault for fault in (*FAULTS, MIXED)}
WELL = next(kind for kind in KINDS if kind.role == "well" and kind.stream)
HURT = next(kind for kind in KINDS if kind.role == "hurt" and kind.stream)
BESIDE = next(kind for kind in KINDS if kind.role == "neighbour" and kind.stream)
AUTO = next(kind for kind in KINDS if kind.model == "auto" and kind.stream)
WRONG = next(kind for kind in KINDS if kind.role == "nobody")
TIMEOUT = {"message": "slow", "type": "backend_error", "param": None, "code": "backend_timeout"}


async def test_users_notice_what_they_may_and_no_more_when_backends_fail() -> None:
    with staged() as stage:
        result = await run(stage, [BY_NAME[name] for name in SHORT], PLAN)
        assert stage.portal.stop() == 0
    assert result.wrong == []
    assert [row.fault for row in result.rows] == list(SHORT)
    for row in result.rows:
        # The faults did happen, and load there was.
        assert row.requests >= PLAN.before + PLAN.during + PLAN.after
        assert row.opened
        assert row.back > 0
        assert row.left > 0


def test_the_page_names_every_fault() -> None:
    page = (ROOT / report.PAGE).read_text(encoding="utf-8")
    missing = [
        fault.name for fault in BY_NAME.values() if f"| {fault.name}: {fault.hurt} " not in page
    ]
    assert missing == []


def test_no_two_faults_share_a_name() -> None:
    assert len(BY_NAME) == len(FAULTS) + 1


def test_the_page_is_renewed_between_its_markers_only() -> None:
    old = f"before\n{report.START}\nold\n{report.END}\nafter\n"
    new = report.renewed(old, ["new"])
    assert new == f"before\n{report.START}\n\nnew\n\n{report.END}\nafter\n"
    assert report.renewed(new, ["new"]) == new
    with pytest.raises(ValueError, match="lacks"):
        report.renewed("nothing", ["new"])


def streamed(*texts: str, error: Any = None, done: bool = True) -> bytes:
    lines = [json.dumps({"choices": [{"delta": {"content": text}}]}) for text in texts]
    lines += [json.dumps({"error": error})] if error else []
    lines += ["[DONE]"] if done else []
    return "".join(f"data: {line}\n\n" for line in lines).encode()


def entry(
    kind: Kind,
    body: bytes,
    *,
    status: int = 200,
    phase: Phase = "during",
    content_type: str = "text/event-stream",
    **more: Any,
) -> Entry:
    headers = {"content-type": content_type, **more.pop("headers", {})}
    heard = Heard(status, headers, body, **({"ended": "whole"} | more))
    return enter(7, kind, phase, heard, error_types())


def faults_of(found: Entry, fault: Fault | str = "stalls") -> str:
    known = BY_NAME[fault] if isinstance(fault, str) else fault
    return "; ".join(unjust(found, known, 5.0))


def test_an_answer_is_just() -> None:
    assert faults_of(entry(WELL, streamed("Echo: ", mark(7)))) == ""


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        (entry(WELL, b"", ended="hung"), "hung"),
        (entry(WELL, streamed("Echo: ", mark(7)), seconds=16.0), "are allowed"),
        (entry(HURT, streamed("Echo:", done=False), ended="cut"), "cut without a word"),
        (entry(WELL, streamed("Echo:", error=TIMEOUT)), "had to succeed"),
        (entry(BESIDE, streamed("Echo:", error=TIMEOUT)), "had to succeed"),
        (entry(AUTO, streamed(error=TIMEOUT)), "found no other model"),
        (entry(AUTO, streamed("x", error=TIMEOUT | {"code": "oops"})), "not documented"),
        (entry(AUTO, streamed("x", error={"message": "short"})), "not documented"),
        (entry(WELL, streamed("Echo: ", mark(7), " Echo: ", mark(7))), "glued"),
        (entry(HURT, streamed("Echo:", error=TIMEOUT) + streamed("more")), "went on"),
        (entry(HURT, streamed("Echo:", done=False)), "neither an answer nor an error"),
        (entry(HURT, b"<html>", content_type="text/html"), "neither an answer nor an error"),
        (entry(HURT, streamed()), "is empty"),
        (entry(WELL, streamed("Echo: ", mark(8))), "something else"),
        (entry(WRONG, streamed("Echo: ", mark(7))), "client's fault"),
        (entry(WRONG, json.dumps({"error": TIMEOUT}).encode(), status=504), "client's fault"),
    ],
)
def test_the_ledger_sees_what_is_unjust(found: Entry, complaint: str) -> None:
    assert complaint in faults_of(found)


def test_what_a_fault_excuses_is_excused_for_it_alone() -> None:
    broken = entry(BESIDE, streamed("Echo:", error=TIMEOUT))
    assert faults_of(broken, "killed") == ""
    assert "had to succeed" in faults_of(entry(HURT, streamed("x", error=TIMEOUT)), "drips")
    assert faults_of(entry(HURT, streamed()), "empty") == ""
    assert "is empty" in faults_of(entry(AUTO, streamed()), "empty")


def record(text: str, model: str = "well:7b", state: str = "finished") -> Recorded:
    asked = {"model": model, "messages": [{"role": "user", "content": mark(7)}], "stream": True}
    sent = json.dumps({"message": {"content": text}, "done": True})
    body = json.dumps(asked)
    return Recorded(1, 1, "POST", "/api/chat", {}, [], body, 1, state, None, sent)


def test_an_answer_is_held_against_what_its_backend_recorded() -> None:
    route: Any = {"headers": {"x-portal-route": "-;well-ollama;well:7b;named"}}
    text = f"Echo: {mark(7)}"
    fault = BY_NAME["stalls"]
    told = entry(WELL, streamed(text), **route)
    broken = entry(WELL, streamed("Echo:", error=TIMEOUT), **route)

    def complaint(found: Entry, **recorded: list[Recorded]) -> str:
        names = {name.replace("_", "-"): rows for name, rows in recorded.items()}
        return "; ".join(compare(found, fault, index(names)))

    assert complaint(told, well_ollama=[record(text)]) == ""
    assert complaint(broken, well_ollama=[record(text)]) == ""
    assert "never asked" in complaint(told, hurt_ollama=[record(text)])
    assert "never asked" in complaint(told, well_ollama=[record(text, model="other:1b")])
    assert "does not say" in complaint(told, well_ollama=[record("Echo: else")])
    assert "does not say" in complaint(broken, well_ollama=[record("else")])


def test_a_backend_that_writes_for_nobody_is_seen() -> None:
    left = entry(HURT, streamed("Echo:", done=False), ended="left")
    open_ = index({"hurt-ollama": [record("Echo:", state="open")]})
    closed = index({"hurt-ollama": [record("Echo:", state="client_closed")]})
    assert len(unnoticed([left], open_)) == 1
    assert unnoticed([left], closed) == []


def test_every_kind_of_request_is_asked_within_the_short_run() -> None:
    assert len(KINDS) <= PLAN.during
    assert {kind.role for kind in KINDS} == {"hurt", "neighbour", "well", "workspace", "nobody"}


def test_what_cannot_be_read_is_odd() -> None:
    assert read(b"data: {\xff\n\n", "text/event-stream").odd
    assert read(b"[1]", "application/json").odd
    assert not read(b": ping\n\ndata: [DONE]\n\n", "text/event-stream").odd


def test_a_fake_can_show_signs_of_life_without_a_token(ollama: Fake, openai_server: Fake) -> None:
    for fake in (ollama, openai_server):
        fake.script(tokens=["one", " two"], stall_after=1, ping_ms=1)
    with connect(openai_server, "/v1/chat/completions", ask(stream=True)) as sock:
        assert b"two" not in read_until(sock, b": ping\n\n\r\n8\r\n: ping")
    with connect(ollama, "/api/chat", ask_ollama()) as sock:
        assert b"two" not in read_until(sock, b"\r\n1\r\n\n\r\n1\r\n\n")


def test_the_limits_add_up() -> None:
    assert LIMITS.raw(50) < LIMITS.raw(100)
    assert LIMITS.workspace(50, whole=False) < LIMITS.workspace(50, whole=True)
    assert TOKENS > 20
    assert len(KEY) >= 16
