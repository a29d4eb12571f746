"""Ollama's chat and generate through `portal up`: what reached a backend, and what came back."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import StartPortal
from tests.harness import Fake, PortalProcess

QWEN = "qwen2.5:7b"
VLLM = "vllm/Qwen/Qwen2.5-7B-Instruct"
ASK = [{"role": "user", "content": "hi there"}]
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(20)).decode()


@pytest.fixture(scope="module")
def portal(ollama_program: Fake, openai_program: Fake) -> Iterator[PortalProcess]:
    """A Portal with both kinds of server; for tests after which no model is in disgrace."""
    backends = [ollama_program.backend("ollama"), openai_program.backend("vllm")]
    with PortalProcess(backends=backends) as portal:
        for _ in range(400):
            listed = {row["id"] for row in portal.client.get("/v1/models").json()["data"]}
            if {f"ollama/{QWEN}", VLLM} <= listed:
                break
        yield portal


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    """Decode a streamed answer, each line for itself."""
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def test_a_raw_chat_arrives_as_it_was_sent_but_for_its_models_name(
    portal: PortalProcess, ollama: Fake
) -> None:
    body = (
        '{"x_new": {"big": 12345678901234567890, "f":  1.0e5}, "options": {"num_ctx":  999},'
        f'"model": "ollama/{QWEN}", "messages": [{{"role": "user",  "content": "hi"}}]}}'
    )
    answer = portal.client.post("/api/chat", content=body)
    (sent,) = ollama.requests("/api/chat")
    assert answer.status_code == 200
    assert sent.body == (
        '{"x_new":{"big": 12345678901234567890, "f":  1.0e5},"options":{"num_ctx":  999},'
        f'"model":"{QWEN}","messages":[{{"role": "user",  "content": "hi"}}]}}'
    )


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
@pytest.mark.parametrize("stream", [None, True, False])
def test_a_raw_answer_is_ollamas_own_and_streams_unless_told_not_to(
    portal: PortalProcess, ollama: Fake, path: str, stream: bool | None
) -> None:
    body: dict[str, Any] = {"model": QWEN, "messages": ASK, "prompt": "hi there"}
    if stream is not None:
        body["stream"] = stream
    answer = portal.client.post(path, json=body)
    (sent,) = ollama.requests(path)
    assert answer.content == sent.answer
    expected = "application/json; charset=utf-8" if stream is False else "application/x-ndjson"
    assert answer.headers["content-type"] == expected
    assert answer.headers["x-portal-route"] == f"-;ollama;{QWEN};named"
    assert json.loads(answer.text.splitlines()[-1])["done"] is True


def test_a_raw_refusal_keeps_its_status_and_headers(portal: PortalProcess, ollama: Fake) -> None:
    refusal = {"error": "no such thing", "odd": True}
    ollama.script(status=422, body=refusal, headers={"x-why": "so"})
    answer = portal.client.post("/api/chat", json={"model": QWEN, "messages": ASK})
    assert (answer.status_code, answer.json()) == (422, refusal)
    assert answer.headers["x-why"] == "so"


def test_a_raw_request_without_a_question_is_ollamas_to_understand(
    portal: PortalProcess, ollama: Fake
) -> None:
    for path, empty in (("/api/chat", {"messages": []}), ("/api/generate", {"prompt": ""})):
        answer = portal.client.post(path, json={"model": QWEN, **empty})
        assert answer.json()["done_reason"] == "load"
        assert ollama.state()["loaded"]
        answer = portal.client.post(path, json={"model": QWEN, "keep_alive": 0, **empty})
        assert answer.json()["done_reason"] == "unload"
        assert not ollama.state()["loaded"]


def test_a_raw_prompt_that_cannot_fit_the_clients_own_window_is_refused(
    portal: PortalProcess, ollama: Fake
) -> None:
    long = [{"role": "user", "content": "word and " * 3000}]
    body = {"model": QWEN, "messages": long, "stream": False}
    refused = portal.client.post("/api/chat", json={**body, "options": {"num_ctx": 2048}})
    assert refused.status_code == 400
    assert "2048" in refused.json()["error"]
    assert ollama.requests("/api/chat") == []
    taken = portal.client.post("/api/chat", json={**body, "options": {"num_ctx": 16384}})
    assert taken.status_code == 200


def test_a_raw_stream_that_breaks_ends_with_a_line_that_says_so(
    portal: PortalProcess, ollama: Fake
) -> None:
    ollama.script(tokens=["one", " two", " three"], cut_after=2)
    answer = portal.client.post("/api/chat", json={"model": QWEN, "messages": ASK})
    *said, last = lines(answer)
    assert [line["message"]["content"] for line in said] == ["one", " two"]
    assert list(last) == ["error"]
    assert "ollama" in last["error"]


def test_a_raw_stream_is_cut_nowhere_within_a_line(portal: PortalProcess, ollama: Fake) -> None:
    ollama.script(tokens=["one", " two", " three"], cut_after_bytes=250)
    answer = portal.client.post("/api/chat", json={"model": QWEN, "messages": ASK})
    assert "error" in lines(answer)[-1]


@pytest.mark.parametrize("model", [QWEN, VLLM, "auto"])
def test_a_client_that_leaves_frees_the_backend_at_once(
    portal: PortalProcess, ollama: Fake, openai_server: Fake, model: str
) -> None:
    fakes = {"ollama": ollama, "vllm": openai_server}
    for fake in fakes.values():
        fake.script(tokens=["one", " two"], stall_after=1)
    body = {"model": model, "messages": ASK}
    with portal.client.stream("POST", "/api/chat", json=body) as answer:
        assert json.loads(next(answer.iter_lines()))["message"]["content"] == "one"
        backend = answer.headers["x-portal-route"].split(";")[1]
    fakes[backend].wait("closed")


def test_a_raw_model_that_keeps_failing_is_left_alone_in_ollamas_words(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(backends=[ollama.backend("ollama")], breaker={"failures": 2})
    ollama.script(status=500, body={"error": "it crashed"})
    body = {"model": f"ollama/{QWEN}", "messages": ASK}
    for _ in range(2):
        assert portal.client.post("/api/chat", json=body).json() == {"error": "it crashed"}
    answer = portal.client.post("/api/chat", json=body)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert list(answer.json()) == ["error"]
    assert len(ollama.requests("/api/chat")) == 2


def test_a_chat_for_another_server_is_put_into_its_words(
    portal: PortalProcess, openai_server: Fake
) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    answer = portal.client.post(
        "/api/chat",
        json={
            "model": VLLM,
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "what is it?", "images": [PNG, JPEG]},
            ],
            "stream": False,
            "format": schema,
            "think": "low",
            "keep_alive": "5m",
            "options": {
                "temperature": 0.5,
                "top_p": 0.9,
                "num_predict": 7,
                "stop": ["END"],
                "seed": 3,
                "num_ctx": 512,
                "top_k": 4,
            },
        },
    )
    sent = openai_server.requests("/v1/chat/completions")[0].json
    assert sent["model"] == VLLM.removeprefix("vllm/")
    assert sent["messages"] == [
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "what is it?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{JPEG}"}},
            ],
        },
    ]
    found = {name: sent[name] for name in ("temperature", "top_p", "max_tokens", "stop", "seed")}
    assert found == {
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 7,
        "stop": ["END"],
        "seed": 3,
    }
    assert sent["response_format"]["json_schema"]["schema"] == schema
    assert sent["reasoning_effort"] == "low"
    assert answer.headers["x-portal-dropped"] == "keep_alive, options.num_ctx, options.top_k"
    assert answer.json()["model"] == VLLM
    assert answer.json()["done_reason"] == "stop"


def test_another_servers_answer_comes_line_by_line_with_its_counts(
    portal: PortalProcess, openai_server: Fake
) -> None:
    openai_server.script(reasoning=["hm", "!"], tokens=["a", "b"], finish="length")
    answer = portal.client.post("/api/chat", json={"model": VLLM, "messages": ASK})
    *pieces, last = lines(answer)
    assert [piece["message"] for piece in pieces] == [
        {"role": "assistant", "content": "", "thinking": "hm"},
        {"role": "assistant", "content": "", "thinking": "!"},
        {"role": "assistant", "content": "a"},
        {"role": "assistant", "content": "b"},
    ]
    assert all(piece["done"] is False and piece["model"] == VLLM for piece in pieces)
    assert last["message"] == {"role": "assistant", "content": ""}
    assert (last["done"], last["done_reason"]) == (True, "length")
    assert (last["prompt_eval_count"], last["eval_count"]) == (11, 4)
    assert last["total_duration"] >= last["prompt_eval_duration"] + last["eval_duration"] > 0


def test_another_servers_answer_to_a_prompt_is_a_response(
    portal: PortalProcess, openai_server: Fake
) -> None:
    body = {"model": VLLM, "prompt": "hello you", "system": "be kind", "images": [PNG]}
    openai_server.script(reasoning=["hm"], tokens=["a", "b"])
    *pieces, last = lines(portal.client.post("/api/generate", json=body))
    assert [piece["response"] for piece in pieces] == ["", "a", "b"]
    assert pieces[0]["thinking"] == "hm"
    assert (last["response"], last["done"], last["done_reason"]) == ("", True, "stop")
    whole = portal.client.post("/api/generate", json={**body, "stream": False}).json()
    assert (whole["response"], whole["thinking"], whole["done"]) == ("ab", "hm", True)
    messages = openai_server.requests("/v1/chat/completions")[0].json["messages"]
    assert messages[0] == {"role": "system", "content": "be kind"}
    assert [part["type"] for part in messages[1]["content"]] == ["text", "image_url"]


@pytest.mark.parametrize("stream", [True, False])
def test_tool_calls_come_whole_with_arguments_as_an_object(
    portal: PortalProcess, openai_server: Fake, stream: bool
) -> None:
    calls = [
        {"name": "weather", "arguments": {"city": "Rome"}, "pieces": ['{"ci', 'ty": "Rome"}']},
        {"name": "time", "arguments": {}},
    ]
    openai_server.script(tool_calls=calls)
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    body = {"model": VLLM, "messages": ASK, "tools": [tool], "stream": stream}
    answer = portal.client.post("/api/chat", json=body)
    told = lines(answer) if stream else [answer.json()]
    found = [call for line in told for call in line["message"].get("tool_calls", ())]
    assert [call["function"] for call in found] == [
        {"index": 0, "name": "weather", "arguments": {"city": "Rome"}},
        {"index": 1, "name": "time", "arguments": {}},
    ]
    assert told[-1]["done_reason"] == "stop"
    sent = openai_server.requests("/v1/chat/completions")[0].json
    assert sent["tools"][0]["function"]["name"] == "weather"


def test_results_of_tools_reach_another_server_with_the_id_of_their_call(
    portal: PortalProcess, openai_server: Fake
) -> None:
    calls = [{"function": {"name": name, "arguments": {"n": 1}}} for name in ("one", "two")]
    messages = [
        *ASK,
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "tool_name": "two", "content": "2"},
        {"role": "tool", "content": "1"},
    ]
    portal.client.post("/api/chat", json={"model": VLLM, "messages": messages, "stream": False})
    sent = openai_server.requests("/v1/chat/completions")[0].json["messages"]
    ids = {call["function"]["name"]: call["id"] for call in sent[1]["tool_calls"]}
    assert len(set(ids.values())) == 2
    assert [message["tool_call_id"] for message in sent[2:]] == [ids["two"], ids["one"]]


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_workspace_answers_under_its_own_name(
    portal: PortalProcess, ollama: Fake, openai_server: Fake, path: str, stream: bool
) -> None:
    body = {"model": "auto", "messages": ASK, "prompt": "hi there", "stream": stream}
    answer = portal.client.post(path, json=body)
    told = lines(answer) if stream else [answer.json()]
    texts = [line["message"]["content"] if "chat" in path else line["response"] for line in told]
    assert "".join(texts) == "Echo: hi there"
    assert {line["model"] for line in told} == {"auto"}
    workspace, backend, model, _ = answer.headers["x-portal-route"].split(";")
    asked = {"ollama": (ollama, "/api/chat"), "vllm": (openai_server, "/v1/chat/completions")}
    fake, reached = asked[backend]
    assert workspace == "auto"
    assert fake.requests(reached)[0].json["model"] == model


def test_a_persona_answers_with_its_own_system_prompt(
    portal: PortalProcess, ollama: Fake, openai_server: Fake
) -> None:
    body = {"model": "persona/tutor", "messages": ASK, "stream": False}
    assert portal.client.post("/api/chat", json=body).json()["model"] == "persona/tutor"
    asked = ollama.requests("/api/chat") + openai_server.requests("/v1/chat/completions")
    shown = portal.client.post("/api/show", json={"model": "persona/tutor"}).json()
    first = asked[0].json["messages"][0]
    assert shown["system"]
    assert first["role"] == "system"
    assert shown["system"] in first["content"]


@pytest.mark.parametrize("model", [VLLM, "auto"])
@pytest.mark.parametrize(
    ("field", "value"),
    [("suffix", "end"), ("template", "{{ .Prompt }}"), ("raw", True), ("context", [1, 2])],
)
def test_what_only_ollama_can_honour_is_refused_for_others(
    portal: PortalProcess, openai_server: Fake, model: str, field: str, value: Any
) -> None:
    body = {"model": model, "prompt": "hi", field: value}
    answer = portal.client.post("/api/generate", json=body)
    assert answer.status_code == 400
    assert f"`{field}`" in answer.json()["error"]
    assert openai_server.requests("/v1/chat/completions") == []


@pytest.mark.parametrize("model", [VLLM, "auto"])
def test_without_a_question_another_model_counts_as_loaded(
    portal: PortalProcess, ollama: Fake, openai_server: Fake, model: str
) -> None:
    for keep, reason in ((None, "load"), ("5m", "load"), (0, "unload"), ("0s", "unload")):
        body = {"model": model, "keep_alive": keep}
        chat = portal.client.post("/api/chat", json={**body, "messages": []}).json()
        assert (chat["done"], chat["done_reason"]) == (True, reason)
        assert chat["message"] == {"role": "assistant", "content": ""}
        generated = portal.client.post("/api/generate", json=body).json()
        assert (generated["response"], generated["done_reason"]) == ("", reason)
    assert ollama.requests("/api/chat") == []
    assert openai_server.requests("/v1/chat/completions") == []


@pytest.mark.parametrize("model", [VLLM, "auto"])
def test_a_late_failure_is_the_last_line_of_a_translated_stream(
    start_portal: StartPortal, openai_server: Fake, model: str
) -> None:
    openai_server.script(tokens=["one", " two", " three"], cut_after=2)
    portal = start_portal(backends=[openai_server.backend("vllm")])
    answer = portal.client.post("/api/chat", json={"model": model, "messages": ASK})
    *said, last = lines(answer)
    assert [line["message"]["content"] for line in said] == ["one", " two"]
    assert list(last) == ["error"]
    whole = portal.client.post("/api/chat", json={"model": model, "messages": ASK, "stream": False})
    assert whole.status_code == 502
    assert list(whole.json()) == ["error"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/chat", b'{"model": "nobody", "messages": []}', 404),
        ("POST", "/api/chat", b'{"messages": []}', 400),
        ("POST", "/api/chat", b'{"model": ""}', 400),
        ("POST", "/api/chat", b"{", 400),
        ("POST", "/api/chat", b"", 400),
        ("POST", "/api/chat", b'{"model": "\xff"}', 400),
        ("POST", "/api/chat", b'{"model": "auto", "messages": [{"role": "bird"}]}', 400),
        ("POST", "/api/generate", b'{"model": "auto", "prompt": 5}', 400),
        ("POST", "/api/generate", b'{"model": "auto", "prompt": "a", "format": "xml"}', 400),
        ("POST", "/api/embed", b'{"model": 5}', 400),
        ("GET", "/api/chat", b"", 405),
        ("PATCH", "/api/anything", b"", 404),
        ("POST", "/api/pull", b'{"model": "a"}', 403),
    ],
)
def test_every_error_has_ollamas_shape(
    portal: PortalProcess, method: str, path: str, body: bytes, status: int
) -> None:
    answer = portal.client.request(method, path, content=body)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert isinstance(answer.json()["error"], str)


def test_a_refusal_before_routing_has_the_shape_of_the_api_it_was_for(
    portal: PortalProcess,
) -> None:
    foreign = {"origin": "http://evil.example"}
    ollamas = portal.client.get("/api/tags", headers=foreign).json()["error"]
    openais = portal.client.get("/v1/models", headers=foreign).json()["error"]
    assert ollamas == openais["message"]
    assert portal.client.post("/api/dry-run", json={"model": 5}).json()["error"]["code"]
