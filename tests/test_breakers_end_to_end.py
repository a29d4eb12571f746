"""A model that fails is left alone, its neighbours are not, and it comes back by itself."""

import itertools
import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.conftest import StartPortal
from tests.harness import Fake, PortalProcess, run_cli

CHAT = "/v1/chat/completions"
SICK, WELL = "ollama/qwen2.5:7b", "ollama/llava:7b"
BROKEN = {"model": "qwen2.5:7b", "status": 500, "body": {"error": "out of memory"}}
PATIENT = {"failures": 2, "recovery_seconds": 300}
QUICK = {"failures": 2, "recovery_seconds": 0.2, "max_recovery_seconds": 0.4}
SECONDS = 20.0
POLL_SECONDS = 0.02


def ask(portal: PortalProcess, model: str = SICK, text: str = "hi") -> httpx.Response:
    """Ask a question."""
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    return portal.client.post(CHAT, json=body)


def statuses(portal: PortalProcess, count: int, model: str = SICK) -> list[int]:
    """Ask so often; give the statuses."""
    return [ask(portal, model).status_code for _ in range(count)]


def owner(portal: PortalProcess) -> dict[str, str]:
    """Give the owner's header."""
    return {"authorization": f"Bearer {portal.run_json()['token']}"}


def breakers(portal: PortalProcess) -> dict[str, dict[str, Any]]:
    """Give the breakers that have something to tell, by model."""
    backends = portal.client.get("/portal/backends", headers=owner(portal)).json()["data"]
    return {each["model"]: each for row in backends for each in row.get("breakers", ())}


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for what comes by itself. AssertionError if it does not."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(POLL_SECONDS)


def asked(fake: Fake, model: str = "qwen2.5:7b") -> int:
    """Count the questions that a model was asked."""
    return sum(row.json["model"] == model for row in fake.requests("/api/chat"))


def test_a_failing_model_is_left_alone_and_its_neighbour_answers(
    start_portal: StartPortal, ollama: Fake
) -> None:
    ollama.script(**BROKEN)
    portal = start_portal(backends=[ollama], breaker=PATIENT)
    assert statuses(portal, 2) == [502, 502]
    refused = ask(portal)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "backend_paused")
    assert "out of memory" in refused.json()["error"]["message"]
    assert 200 < int(refused.headers["retry-after"]) <= 310
    assert statuses(portal, 3) == [503, 503, 503]
    assert asked(ollama) == 2
    assert statuses(portal, 3, WELL) == [200, 200, 200]


def test_the_state_shows_everywhere_and_a_reset_ends_it(
    start_portal: StartPortal, ollama: Fake
) -> None:
    ollama.script(**BROKEN)
    portal = start_portal(backends=[ollama], breaker=PATIENT)
    statuses(portal, 2)
    health = portal.client.get("/health").json()
    assert health["status"] == "degraded"
    assert any(
        f"{SICK} is left alone after 2 failures" in problem for problem in health["problems"]
    )
    (shown,) = breakers(portal).values()
    assert (shown["model"], shown["state"], shown["failures"]) == ("qwen2.5:7b", "open", 2)
    assert "out of memory" in shown["error"]
    table = run_cli("backends", "list", portal=portal).stdout
    assert re.search(rf"{SICK} +open: tried again in \d+ s +2 +.*out of memory", table)
    assert portal.client.get(f"/v1/models/{SICK}").json()["portal"]["breaker"] == "open"
    assert "left alone after failures" in run_cli("models", portal=portal).stdout
    ollama.reset()
    done = run_cli("backends", "reset", "ollama", "qwen2.5:7b", portal=portal)
    assert (done.returncode, done.stdout) == (0, "1 model is asked again.\n")
    assert breakers(portal) == {}
    assert portal.client.get("/health").json()["status"] == "ok"
    assert statuses(portal, 1) == [200]


@pytest.mark.parametrize(
    ("words", "count"),
    [([], 1), (["ollama"], 1), ([SICK], 1), (["ollama", "llava:7b"], 0), (["nope"], None)],
)
def test_a_reset_is_of_what_was_named(
    start_portal: StartPortal, ollama: Fake, words: list[str], count: int | None
) -> None:
    ollama.script(**BROKEN)
    portal = start_portal(backends=[ollama], breaker=PATIENT)
    statuses(portal, 2)
    done = run_cli("backends", "reset", *words, "--json", portal=portal)
    if count is None:
        assert done.returncode == 1
        assert "There is no backend 'nope'; there are ollama." in done.stderr
    else:
        assert json.loads(done.stdout) == {"reset": count}
    assert bool(breakers(portal)) is not bool(count)


def test_a_reset_needs_a_running_portal(start_portal: StartPortal, ollama: Fake) -> None:
    portal = start_portal(backends=[ollama])
    portal.stop()
    done = run_cli("backends", "reset", portal=portal)
    assert (done.returncode, done.stdout) == (1, "")
    assert "not running" in done.stderr


def test_a_workspace_passes_over_what_is_left_alone_without_asking_it(
    start_portal: StartPortal, ollama: Fake
) -> None:
    ollama.script(**BROKEN)
    workspace = {"model": SICK, "fallback": [WELL]}
    portal = start_portal(backends=[ollama], breaker=PATIENT, workspaces={"mine": workspace})
    routes = [ask(portal, "mine").headers["x-portal-route"] for _ in range(4)]
    assert routes[:2] == ["mine;ollama;llava:7b;fallback after 1 failed"] * 2
    assert routes[2:] == ["mine;ollama;llava:7b;configured fallback"] * 2
    assert asked(ollama) == 2
    question = {"model": "mine", "prompt": "hi"}
    decision = portal.client.post("/portal/route", json=question).json()
    assert decision["candidates"][0]["model"] == "llava:7b"
    (passed,) = [each for each in decision["passed_over"] if each["model"] == SICK]
    assert re.fullmatch(r"left alone for \d+ s more after failures", passed["reason"])


def test_recovery_asks_something_cheap_before_a_persons_question(
    start_portal: StartPortal, ollama: Fake
) -> None:
    ollama.script(**BROKEN, times=2)
    portal = start_portal(backends=[ollama], breaker=QUICK, server={"discover_seconds": 3600})
    assert statuses(portal, 2) == [502, 502]
    until(lambda: breakers(portal)["qwen2.5:7b"]["state"] == "half_open", "half open")
    assert asked(ollama) == 2
    assert statuses(portal, 1) == [200]
    assert breakers(portal) == {}
    paths = [row.path for row in ollama.requests() if row.path in ("/api/chat", "/api/tags")]
    last = len(paths) - 1 - paths[::-1].index("/api/tags")
    assert paths[:last].count("/api/chat") == 2
    assert paths[last + 1 :] == ["/api/chat"]


def test_a_model_that_vanished_costs_no_question_to_find_out(
    start_portal: StartPortal, ollama: Fake
) -> None:
    ollama.script(**BROKEN)
    portal = start_portal(backends=[ollama], breaker=QUICK, server={"discover_seconds": 3600})
    statuses(portal, 2)
    ollama.models("llava:7b")
    error = "its backend no longer lists it"
    until(lambda: breakers(portal)["qwen2.5:7b"]["error"] == error, "probe failed")
    assert breakers(portal)["qwen2.5:7b"]["state"] == "open"
    assert asked(ollama) == 2
    ollama.models("llava:7b", "qwen2.5:7b")
    until(lambda: breakers(portal)["qwen2.5:7b"]["state"] == "half_open", "half open")
    assert statuses(portal, 1, WELL) == [200]


def test_a_dead_backend_recovers_when_it_is_back(start_portal: StartPortal, ollama: Fake) -> None:
    portal = start_portal(backends=[ollama], breaker=QUICK, server={"discover_seconds": 3600})
    portal.await_log("ollama is live")
    ollama.kill()
    assert statuses(portal, 2) == [503, 503]
    assert breakers(portal)["qwen2.5:7b"]["state"] == "open"
    portal.await_log("ollama is dead")
    ollama.restart()
    until(lambda: ask(portal).status_code == 200, "an answer")
    until(lambda: breakers(portal) == {}, "closed")


def test_a_trial_that_fails_leaves_it_alone_for_longer(
    start_portal: StartPortal, ollama: Fake
) -> None:
    ollama.script(**BROKEN)
    breaker = {"failures": 1, "recovery_seconds": 0.2, "max_recovery_seconds": 600}
    portal = start_portal(backends=[ollama], breaker=breaker, server={"discover_seconds": 3600})

    def failed_trials() -> int:
        if breakers(portal)["qwen2.5:7b"]["state"] == "half_open":
            ask(portal)
        return asked(ollama)

    ask(portal)
    until(lambda: failed_trials() == 3, "two trials")
    found = breakers(portal)["qwen2.5:7b"]
    assert (found["state"], found["failures"]) == ("open", 3)
    log = re.findall(r"left alone for ([\d.]+) s", portal.logs())
    assert [float(seconds) <= limit for seconds, limit in zip(log, (0.2, 0.4, 0.8), strict=True)]
    assert float(log[0]) < float(log[1]) < float(log[2])


def test_a_model_that_asks_for_a_pause_gets_it_and_no_blame(
    start_portal: StartPortal, ollama: Fake
) -> None:
    ollama.script(
        model="qwen2.5:7b", status=429, body={"error": "busy"}, headers={"Retry-After": "30"}
    )
    portal = start_portal(backends=[ollama], breaker=PATIENT)
    first = ask(portal)
    assert (first.status_code, first.headers["retry-after"]) == (429, "30")
    second = ask(portal)
    assert (second.status_code, second.json()["error"]["code"]) == (503, "backend_paused")
    assert 20 < int(second.headers["retry-after"]) <= 30
    assert asked(ollama) == 1
    assert breakers(portal)["qwen2.5:7b"]["state"] == "closed"
    assert re.search(
        rf"{SICK} +paused: tried again in \d+ s", run_cli("backends", portal=portal).stdout
    )
    assert statuses(portal, 1, WELL) == [200]


@pytest.mark.parametrize("status", [400, 404, 413, 422, 429])
def test_refusals_of_a_request_never_count(
    start_portal: StartPortal, ollama: Fake, status: int
) -> None:
    ollama.script(model="qwen2.5:7b", status=status, body={"error": "no"}, times=6)
    portal = start_portal(backends=[ollama], breaker=PATIENT)
    assert statuses(portal, 7) == [status] * 6 + [200]
    assert breakers(portal) == {}


@pytest.mark.parametrize(
    "script",
    [{"cut_after": 1}, {"tokens": []}, {"garbage_after": 0}, {"status": 408}, {"status": 503}],
    ids=str,
)
def test_every_way_to_fail_counts(
    start_portal: StartPortal, ollama: Fake, script: dict[str, Any]
) -> None:
    ollama.script(model="qwen2.5:7b", **script)
    portal = start_portal(backends=[ollama], breaker=PATIENT)
    statuses(portal, 2)
    assert statuses(portal, 1) == [503]
    assert asked(ollama) == 2


def test_a_client_that_leaves_is_nobodys_failure(start_portal: StartPortal, ollama: Fake) -> None:
    ollama.script(tokens=["a", " b"], manual=True, times=3)
    portal = start_portal(backends=[ollama], breaker=PATIENT)
    body = {"model": SICK, "messages": [{"role": "user", "content": "hi"}], "stream": True}
    for number in range(3):
        ollama.step()
        with (
            httpx.Client(base_url=portal.url, trust_env=False, timeout=30) as client,
            client.stream("POST", CHAT, json=body) as answer,
        ):
            next(answer.iter_bytes())
        ollama.wait("closed", number + 1, path="/api/chat")
    assert breakers(portal) == {}
    assert statuses(portal, 1) == [200]


def waiting(portal: PortalProcess) -> int:
    """Count the requests that wait for their turn."""
    text = portal.client.get("/metrics", headers=owner(portal)).text
    found = re.search(r'^portal_requests_waiting\{backend="ollama"\} ([\d.]+)', text, re.MULTILINE)
    return 0 if found is None else int(float(found[1]))


@contextmanager
def lined_up(
    portal: PortalProcess, ollama: Fake, models: list[str]
) -> Iterator[list[Future[httpx.Response]]]:
    """Let requests arrive one after the other while the first of them is being answered."""
    ollama.script(tokens=["first"], manual=True, times=1)
    with ThreadPoolExecutor(len(models)) as pool:
        asking: list[Future[httpx.Response]] = []
        for place, model in enumerate(models):
            asking.append(pool.submit(ask, portal, model, f"number {place}"))
            if place:
                until(lambda place=place: waiting(portal) == place, f"{place} wait")  # type: ignore[misc]
            else:
                ollama.wait("request", path="/api/chat")
        ollama.step()
        yield asking


def test_models_that_displace_each_other_take_turns_in_batches(
    start_portal: StartPortal, ollama: Fake
) -> None:
    ollama.memory(models=1)
    portal = start_portal(
        backends=[ollama.backend(max_loaded=1, max_concurrency=1)], load={"batch": 4}
    )
    models = [SICK, WELL] * 12
    with lined_up(portal, ollama, models) as asking:
        assert {answer.result(SECONDS).status_code for answer in asking} == {200}
    order = [name for name, _ in ollama.state()["order"]]
    assert len(order) <= len(models) // 4 + 1
    assert all(one != other for one, other in itertools.pairwise(order))
    told = portal.client.get("/metrics", headers=owner(portal)).text
    assert re.search(r'portal_model_swaps_avoided_total\{backend="ollama"\} [1-9]', told)


def test_that_models_displace_each_other_is_learnt_from_watching(
    start_portal: StartPortal, ollama: Fake
) -> None:
    ollama.memory(models=1)
    portal = start_portal(
        backends=[ollama.backend(max_concurrency=1)],
        server={"discover_seconds": 0.05},
        load={"batch": 4},
    )
    for model in (SICK, WELL):  # one is seen to have gone when the other came
        assert ask(portal, model).status_code == 200
        name = model.partition("/")[2]

        def loaded(name: str = name) -> bool:
            entry = portal.client.get(f"/v1/models/ollama/{name}").json()
            return bool(entry["portal"]["loaded"])

        until(loaded, f"{name} is seen to be loaded")
    before = len(ollama.state()["order"])
    models = [SICK, WELL] * 12
    with lined_up(portal, ollama, models) as asking:
        assert {answer.result(SECONDS).status_code for answer in asking} == {200}
    assert len(ollama.state()["order"]) - before <= len(models) // 4 + 1


def test_where_both_models_fit_everybody_is_served_in_order(
    start_portal: StartPortal, ollama: Fake
) -> None:
    ollama.memory(models=2)
    portal = start_portal(backends=[ollama.backend(max_concurrency=1)])
    models = [SICK, WELL] * 6
    with lined_up(portal, ollama, models) as asking:
        assert {answer.result(SECONDS).status_code for answer in asking} == {200}
    said = [row.json["messages"][-1]["content"] for row in ollama.requests("/api/chat")]
    assert said == [f"number {place}" for place in range(len(models))]
    assert len(ollama.state()["order"]) == 2
