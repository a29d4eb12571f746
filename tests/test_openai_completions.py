"""POST /v1/completions and the other paths of OpenAI's API through `portal up`."""

import contextlib
import http.client
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import StartPortal
from tests.harness import Fake, PortalProcess

NAME = "Qwen/Qwen2.5-7B-Instruct"
VLLM = f"vllm/{NAME}"
QWEN = "ollama/qwen2.5:7b"


@pytest.fixture(scope="module")
def portal(ollama_program: Fake, openai_program: Fake) -> Iterator[PortalProcess]:
    """A Portal with both kinds of server; for tests after which no model is in disgrace."""
    backends = [ollama_program.backend("ollama"), openai_program.backend("vllm")]
    with PortalProcess(backends=backends) as portal:
        yield portal


def chunks(answer: httpx.Response) -> list[dict[str, Any]]:
    """Decode a streamed answer; it must be complete."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    *events, end = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    assert end == "[DONE]"
    return [json.loads(event) for event in events]


@pytest.mark.parametrize("stream", [False, True])
def test_a_raw_completion_and_its_answer_pass_byte_for_byte(
    portal: PortalProcess, openai_server: Fake, stream: bool
) -> None:
    body = f'{{"prompt": ["a", "b"],  "echo":  true, "model": "{VLLM}", "stream": '
    body += f"{'true' if stream else 'false'}}}"
    answer = portal.client.post("/v1/completions", content=body)
    (sent,) = openai_server.requests("/v1/completions")
    assert '"prompt":["a", "b"],"echo":true' in sent.body
    assert sent.json["model"] == NAME
    assert answer.content == sent.answer
    assert answer.headers["x-portal-route"] == f"-;vllm;{NAME};named"


def test_a_prompt_for_ollama_is_what_a_person_says(portal: PortalProcess, ollama: Fake) -> None:
    body = {
        "model": QWEN,
        "prompt": "once upon",
        "max_tokens": 5,
        "temperature": 0.5,
        "stop": "END",
        "logit_bias": {"5": 1},
        "user": "me",
    }
    answer = portal.client.post("/v1/completions", json=body)
    sent = ollama.requests("/api/chat")[0].json
    assert sent["messages"] == [{"role": "user", "content": "once upon"}]
    options = {name: sent["options"][name] for name in ("num_predict", "temperature", "stop")}
    assert options == {"num_predict": 5, "temperature": 0.5, "stop": ["END"]}
    assert answer.headers["x-portal-dropped"] == "logit_bias"
    found = answer.json()
    assert (found["object"], found["model"]) == ("text_completion", QWEN)
    assert found["id"].startswith("cmpl-")
    choice = {"text": "Echo: once upon", "finish_reason": "stop", "index": 0, "logprobs": None}
    assert found["choices"] == [choice]
    assert found["usage"] == {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}


@pytest.mark.parametrize("model", [QWEN, "auto"])
def test_a_translated_completion_streams_as_texts(portal: PortalProcess, model: str) -> None:
    body = {
        "model": model,
        "prompt": ["once upon"],
        "stream": True,
        "echo": True,
        "stream_options": {"include_usage": True},
    }
    *pieces, last, usage = chunks(portal.client.post("/v1/completions", json=body))
    texts = [piece["choices"][0]["text"] for piece in pieces]
    assert texts[0] == "once uponEcho:"
    assert "".join(texts) == "once uponEcho: once upon"
    assert last["choices"][0]["finish_reason"] == "stop"
    assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], 3)
    assert {piece["model"] for piece in pieces} == {model}
    assert {piece["object"] for piece in pieces} == {"text_completion"}


def test_an_echo_comes_before_a_whole_answer(portal: PortalProcess) -> None:
    body = {"model": "auto", "prompt": "once upon", "echo": True}
    found = portal.client.post("/v1/completions", json=body).json()
    assert found["choices"][0]["text"] == "once uponEcho: once upon"


@pytest.mark.parametrize("model", [QWEN, "auto"])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("suffix", "end"),
        ("logprobs", 0),
        ("best_of", 2),
        ("n", 2),
        ("prompt", ["a", "b"]),
        ("prompt", [1, 2]),
        ("prompt", [[1]]),
        ("prompt", []),
        ("prompt", ""),
        ("temperature", 5),
    ],
)
def test_what_a_chat_cannot_give_is_refused_by_name(
    portal: PortalProcess, ollama: Fake, model: str, field: str, value: Any
) -> None:
    body = {"model": model, "prompt": "a", field: value}
    answer = portal.client.post("/v1/completions", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)
    assert ollama.requests("/api/chat") == []


def test_a_completion_that_breaks_off_ends_with_an_error_event(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(backends=[ollama.backend("ollama")])
    ollama.script(tokens=["one", " two"], cut_after=1)
    body = {"model": "auto", "prompt": "a", "stream": True}
    answer = portal.client.post("/v1/completions", json=body)
    last = json.loads(answer.text.rstrip().rpartition("data: ")[2])
    assert last["error"]["code"] == "backend_broken"
    assert "[DONE]" not in answer.text


def test_another_path_reaches_the_backend_of_its_model(
    portal: PortalProcess, openai_server: Fake
) -> None:
    openai_server.script(
        path="/v1/rerank", status=202, body='{"ranks": [1]}', headers={"x-why": "so"}
    )
    body = f'{{"query":  "a", "model": "{VLLM}", "documents": ["b"]}}'
    answer = portal.client.post("/v1/rerank", content=body)
    (sent,) = openai_server.requests("/v1/rerank")
    assert sent.body == f'{{"query":"a","model":"{NAME}","documents":["b"]}}'
    assert (answer.status_code, answer.text) == (202, '{"ranks": [1]}')
    assert answer.headers["x-why"] == "so"


def test_a_backends_own_refusal_of_a_path_comes_back(
    portal: PortalProcess, openai_server: Fake
) -> None:
    answer = portal.client.post("/v1/no/such/path", json={"model": VLLM})
    (sent,) = openai_server.requests("/v1/no/such/path")
    assert (answer.status_code, answer.content) == (404, sent.answer)


def test_a_workspace_is_rewritten_to_its_best_openai_compatible_model(
    portal: PortalProcess, openai_server: Fake
) -> None:
    openai_server.script(path="/v1/rerank", status=200, body={"ranks": []})
    answer = portal.client.post("/v1/rerank", json={"query": "a", "model": "auto"})
    assert answer.json() == {"ranks": []}
    assert openai_server.requests("/v1/rerank")[0].json["model"] == NAME
    assert answer.headers["x-portal-route"].startswith(f"auto;vllm;{NAME};")


def test_other_paths_have_no_meaning_for_other_servers(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(backends=[ollama.backend("ollama")])
    raw = portal.client.post("/v1/rerank", json={"model": QWEN, "query": "a"})
    assert (raw.status_code, raw.json()["error"]["code"]) == (404, "not_found")
    assert "OpenAI-compatible" in raw.json()["error"]["message"]
    none = portal.client.post("/v1/rerank", json={"model": "auto", "query": "a"})
    assert (none.status_code, none.json()["error"]["param"]) == (400, "model")
    unknown = portal.client.post("/v1/rerank", json={"model": "nobody"})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    assert portal.client.post("/v1/rerank", content=b"\x00").status_code == 400


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_of_another_kind_is_no_fault_of_the_model(
    start_portal: StartPortal, openai_server: Fake, stream: bool
) -> None:
    portal = start_portal(backends=[openai_server.backend("vllm")], breaker={"failures": 1})
    openai_server.script(
        path="/v1/audio/speech", status=200, body="RIFF no JSON", content_type="audio/wav"
    )
    openai_server.script(
        path="/v1/responses",
        status=200,
        body='event: done\ndata: {"odd": true}\n\n',
        content_type="text/event-stream",
    )
    for path, kind in (("/v1/audio/speech", "audio/wav"), ("/v1/responses", "text/event-stream")):
        for _ in range(2):
            answer = portal.client.post(path, json={"model": VLLM, "stream": stream})
            assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
            assert answer.content == openai_server.requests(path)[-1].answer
    owner = {"authorization": f"Bearer {portal.run_json()['token']}"}
    assert portal.client.get("/portal/usage", headers=owner).json()["data"] == []


def test_a_server_that_fails_on_another_path_is_blamed(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    portal = start_portal(backends=[openai_server.backend("vllm")], breaker={"failures": 1})
    openai_server.script(path="/v1/rerank", status=500, body={"error": "it crashed"})
    body = {"model": VLLM, "query": "a"}
    assert portal.client.post("/v1/rerank", json=body).status_code == 500
    paused = portal.client.post("/v1/rerank", json=body)
    assert (paused.status_code, paused.json()["error"]["code"]) == (503, "backend_paused")


@pytest.mark.parametrize(
    "path", ["/v1/x/../rerank", "/v1/%2e%2e/tokenize", "/v1/..", "/v1/./rerank", "/v1/a/%2E"]
)
def test_a_path_with_dots_for_parts_goes_nowhere(
    portal: PortalProcess, openai_server: Fake, path: str
) -> None:
    # Unlike httpx, this client does not tidy a path up.
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", portal.port)) as client:
        client.request("POST", path, body=json.dumps({"model": VLLM}))
        assert client.getresponse().status == 404
    assert [r for r in openai_server.requests() if r.method == "POST"] == []
