"""The fake Ollama's memory: what it loads, evicts and cuts, as the real one does."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.fakes.asking import ask_ollama, get, post
from tests.harness import Fake


def alternating(ollama: Fake) -> list[list[Any]]:
    """Ask two models in turns; tell the loads that it took."""
    for _ in range(2):
        for model in ("qwen2.5:7b", "llava:7b"):
            assert post(ollama, "/api/chat", ask_ollama(model=model)).status_code == 200
    order: list[list[Any]] = ollama.state()["order"]
    return order


def test_the_fakes_memory_evicts_the_least_recently_used_and_counts_loads(ollama: Fake) -> None:
    assert len(alternating(ollama)) == 2
    ollama.reset()
    ollama.memory(1)
    assert [name for name, _ in alternating(ollama)] == ["qwen2.5:7b", "llava:7b"] * 2
    (row,) = get(ollama, "/api/ps").json()["models"]
    assert row["name"] == "llava:7b"


def test_the_fakes_memory_waits_for_answers_before_it_evicts(ollama: Fake) -> None:
    ollama.memory(1)
    ollama.script(model="qwen2.5:7b", tokens=["a"], manual=True)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(post, ollama, "/api/chat", ask_ollama())
        ollama.wait("request", path="/api/chat")
        second = pool.submit(post, ollama, "/api/chat", ask_ollama(model="llava:7b"))
        ollama.wait("request", 2, path="/api/chat")
        assert list(ollama.state()["loaded"]) == ["qwen2.5:7b"]
        ollama.step()
        assert first.result(10).status_code == second.result(10).status_code == 200
    assert list(ollama.state()["loaded"]) == ["llava:7b"]


def test_refused_requests_load_nothing_in_the_fake(ollama: Fake) -> None:
    assert post(ollama, "/api/chat", ask_ollama(model="nope")).status_code == 404
    assert post(ollama, "/api/chat", ask_ollama(think=True)).status_code == 400
    assert ollama.state() == {"loads": {}, "order": [], "loaded": {}}


def test_the_fake_reports_a_smaller_prompt_when_it_cut_it(ollama: Fake) -> None:
    ollama.script(count_input=True)
    asked = ask_ollama("word " * 5000, stream=False)
    assert post(ollama, "/api/chat", asked).json()["prompt_eval_count"] == 4096
    refused = post(ollama, "/api/chat", asked | {"truncate": False})
    assert (refused.status_code, "context length" in refused.json()["error"]) == (
        400,
        True,
    )
    ollama.script(input_tokens=9000)
    asked = ask_ollama(stream=False, options={"num_ctx": 8000})
    assert post(ollama, "/api/chat", asked).json()["prompt_eval_count"] == 8000
