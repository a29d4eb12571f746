"""What a request costs besides its answer: tries, breakers, reloads, and what is told of it."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from portal.runtime.admission.breakers import Breakers
from portal.runtime.admission.load import Load
from portal.runtime.admission.passage import Passages
from portal.runtime.ops import schema
from portal.runtime.routing.answering import Answering
from portal.runtime.routing.pace import Pace
from portal.runtime.routing.usage import UsageRing
from portal.shared.contract import Call, Caller
from portal.shared.errors import BackendError, BackendUnreachable
from portal.shared.messages import Message
from portal.shared.turns import Finish, ModelEvent, ModelRequest, Text, Usage
from tests.conftest import StartPortal
from tests.harness import Fake, free_port

ASK = [{"role": "user", "content": "What should I see in Lisbon in two days?"}]
REQUEST = ModelRequest("m", (Message("user", "hi"),))


class Backend:
    """Fails so often, then answers."""

    name = "one"

    def __init__(self, *errors: BackendError) -> None:
        self._errors = list(errors)
        self.asked = 0

    async def generate(self, _: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        self.asked += 1
        if self._errors:
            raise self._errors.pop(0)
        yield Text("hi")
        yield Usage(3, 1)
        yield Finish("stop")


class Desk:
    """An Answering of these settings, and what it keeps."""

    def __init__(self, *, failures: int = 3, **settings: Any) -> None:
        self.breakers = Breakers(schema.Breaker(failures=failures))
        self.load = Load(schema.Load(), {})
        self.usage = UsageRing()
        self.answering = Answering(
            Passages(self.breakers, self.load),
            self.usage,
            Pace(),
            schema.Routing(retry_seconds=0.001, **settings),
            counted=lambda *_: None,
            used=lambda *_: None,
        )
        self.call = Call("id", Caller("user", "key", frozenset()), "test", 0.0)

    def answer(self, backend: Backend, *, retry: bool) -> AsyncGenerator[ModelEvent, None]:
        return self.answering.answer(
            self.call,
            backend,  # type: ignore[arg-type]
            REQUEST,
            whole=True,
            retry=retry,
        )


async def all_of(events: AsyncGenerator[ModelEvent, None]) -> list[ModelEvent]:
    async with asyncio.timeout(10):
        return [event async for event in events]


async def test_a_refused_connection_is_tried_again_within_one_failure_of_the_breaker() -> None:
    desk, gone = Desk(failures=1, connect_retries=2), BackendUnreachable("refused")
    backend = Backend(gone, gone)
    assert (await all_of(desk.answer(backend, retry=True)))[0] == Text("hi")
    assert backend.asked == 3
    assert desk.breakers.of("one", "m").state == "closed"


async def test_tries_have_an_end_and_count_as_one_failure() -> None:
    desk, gone = Desk(failures=2, connect_retries=2), BackendUnreachable("refused")
    backend = Backend(*[gone] * 9)
    with pytest.raises(BackendUnreachable):
        await all_of(desk.answer(backend, retry=True))
    assert backend.asked == 3
    assert desk.breakers.of("one", "m").status("m").failures == 1


async def test_without_leave_to_retry_a_refused_connection_is_told_at_once() -> None:
    backend = Backend(BackendUnreachable("refused"))
    with pytest.raises(BackendUnreachable):
        await all_of(Desk(connect_retries=5).answer(backend, retry=False))
    assert backend.asked == 1


@pytest.mark.parametrize("read", [0, 1, 2])
async def test_an_answer_left_at_any_point_gives_everything_back(read: int) -> None:
    desk = Desk()
    events = desk.answer(Backend(), retry=False)
    for _ in range(read):
        await anext(events)
    await events.aclose()
    assert desk.load.figures().running == 0
    assert len(desk.usage.last(9)) == (1 if read else 0)


async def test_a_place_that_was_never_used_says_nothing_about_how_long_answers_take() -> None:
    desk = Desk(failures=1)
    desk.load = Load(schema.Load(max_concurrency=1), {})
    passages = Passages(desk.breakers, desk.load)
    first = await passages.enter(desk.call, "one", "m")
    entering = asyncio.create_task(passages.enter(desk.call, "one", "m"))
    await asyncio.sleep(0)
    first.failed(BackendUnreachable("gone"))
    first.close()
    lane = desk.load._lines["one"].lane("m")
    before = lane.service
    with pytest.raises(BackendError, match="left alone"):
        await entering
    assert lane.service == before
    assert desk.load.figures().running == 0


def test_a_raw_model_of_another_dialect_is_asked_again_where_its_connection_was_refused(
    start_portal: StartPortal,
) -> None:
    gone = {"name": "gone", "kind": "ollama", "url": f"http://127.0.0.1:{free_port()}"}
    portal = start_portal(
        routing={"connect_retries": 2, "retry_seconds": 0.01},
        breaker={"failures": 2},
        backends=[gone],
    )
    body = {"model": "gone/any:1b", "messages": ASK}
    answer = portal.client.post("/v1/chat/completions", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "backend_unreachable")
    # Three connections were refused, and that was one failure.
    [backend] = portal.client.get("/health").json()["backends"]
    assert backend["breakers"][0]["failures"] == 1


def test_a_question_of_endless_messages_is_refused(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    portal = start_portal(backends=[openai_server.backend("vllm")])
    body = {"model": "auto", "messages": [{"role": "user", "content": "a"}] * 10_001}
    answer = portal.client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400
    assert "at most 10000" in answer.json()["error"]["message"]


def test_the_model_that_sorts_questions_is_told_the_window_that_others_tell_it(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(
        routing={"classifier_model": "ollama/qwen2.5:7b"},
        backends=[ollama.backend("ollama")],
        workspaces={"one": {"model": "qwen2.5:7b"}},
    )
    body = {"model": "one", "messages": ASK}
    assert portal.client.post("/v1/chat/completions", json=body).status_code == 200
    asked = [record.json for record in ollama.requests("/api/chat")]
    assert [each["model"] for each in asked] == ["qwen2.5:7b"] * 2
    assert len({each["options"].get("num_ctx") for each in asked}) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"model": "auto", "messages": ASK}),
        ("/portal/compare", {"models": ["auto", "auto-fast"], "prompt": "hi"}),
    ],
)
def test_what_a_backend_takes_to_write_is_not_told_as_portals_own_time(
    start_portal: StartPortal, openai_server: Fake, path: str, body: dict[str, Any]
) -> None:
    openai_server.script(path="/v1/chat/completions", tokens=[" a"] * 10, interval_ms=200)
    portal = start_portal(backends=[openai_server.backend("vllm")])
    answer = portal.client.post(path, json=body)
    assert answer.status_code == 200
    assert float(answer.headers["x-portal-overhead-ms"]) < 1000
