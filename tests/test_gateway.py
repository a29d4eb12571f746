"""Raw models through `portal up`: what reached the backend, and what came back."""

import json
import re
from typing import Any

import httpx
import pytest

from tests.conftest import StartFake, StartPortal
from tests.harness import Fake

MODEL = "Qwen/Qwen2.5-7B-Instruct"
ASK = [{"role": "user", "content": "hi"}]


def test_unknown_request_fields_arrive_upstream_byte_for_byte(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    portal = start_portal(backends=[openai_server.backend("vllm")])
    body = (
        '{"x_vendor": {"big": 12345678901234567890, "f":  1.0e5 , "u": "\\u00e9"},'
        f'"model": "vllm/{MODEL}", "messages": [{{"role": "user",  "content": "hi"}}]}}'
    )
    assert portal.client.post("/v1/chat/completions", content=body).status_code == 200
    sent = openai_server.requests("/v1/chat/completions")[0].body
    assert '"x_vendor":{"big": 12345678901234567890, "f":  1.0e5 , "u": "\\u00e9"}' in sent
    assert '"messages":[{"role": "user",  "content": "hi"}]' in sent
    assert json.loads(sent)["model"] == MODEL


def test_response_bytes_are_the_backends_own(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    portal = start_portal(backends=[openai_server.backend("vllm")])
    answer = portal.client.post(
        "/v1/chat/completions", json={"model": f"vllm/{MODEL}", "messages": ASK}
    )
    assert answer.content == openai_server.requests("/v1/chat/completions")[0].answer
    assert b'"spacing":  1.0' in answer.content


def test_streamed_bytes_are_the_backends_own(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    portal = start_portal(backends=[openai_server.backend("vllm")])
    answer = portal.client.post(
        "/v1/chat/completions", json={"model": f"vllm/{MODEL}", "messages": ASK, "stream": True}
    )
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.content == openai_server.requests("/v1/chat/completions")[0].answer
    assert answer.content.endswith(b"data: [DONE]\n\n")


def test_duplicate_keys_are_read_one_way_only(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    portal = start_portal(backends=[openai_server.backend("vllm")])
    body = f'{{"model": "nobody/else", "messages": [], "messages": {json.dumps(ASK)}'
    body += f', "stream": true, "stream": false, "model": "vllm/{MODEL}"}}'
    answer = portal.client.post("/v1/chat/completions", content=body)
    sent = openai_server.requests("/v1/chat/completions")[0].body
    assert answer.status_code == 200
    assert answer.json()["object"] == "chat.completion"
    for key in ("model", "messages", "stream"):
        assert len(re.findall(f'"{key}":', sent)) == 1


def test_a_backends_refusal_comes_back_as_it_is(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    openai_server.script(status=422, body={"detail": "no", "odd": True}, headers={"x-why": "so"})
    portal = start_portal(backends=[openai_server.backend("vllm")])
    answer = portal.client.post(
        "/v1/chat/completions", json={"model": f"vllm/{MODEL}", "messages": ASK, "stream": True}
    )
    assert (answer.status_code, answer.json(), answer.headers["x-why"]) == (
        422,
        {"detail": "no", "odd": True},
        "so",
    )


def test_every_answer_tells_its_id_route_and_overhead(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    portal = start_portal(backends=[openai_server.backend("vllm")])
    for stream in (False, True):
        headers = portal.client.post(
            "/v1/chat/completions",
            json={"model": f"vllm/{MODEL}", "messages": ASK, "stream": stream},
        ).headers
        assert headers["x-portal-route"] == f"-;vllm;{MODEL};named"
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]+", headers["x-request-id"])
        assert float(headers["x-portal-overhead-ms"]) >= 0


def test_a_hostile_model_name_cannot_forge_a_header(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    portal = start_portal(backends=[openai_server.backend("vllm")])
    answer = portal.client.post(
        "/v1/chat/completions", json={"model": "vllm/a\r\nx-evil: 1\u2028", "messages": ASK}
    )
    assert answer.status_code == 404
    assert "x-evil" not in answer.headers
    assert answer.headers["x-portal-route"] == "-;vllm;a??x-evil: 1?;named"


def test_the_backends_key_is_sent_and_the_clients_is_not(
    start_portal: StartPortal, start_fake: StartFake
) -> None:
    fake = start_fake("openai_compatible", "--api-key", "backend-secret")
    portal = start_portal(backends=[fake.backend("vllm", api_key="backend-secret")])
    answer = portal.client.post(
        "/v1/chat/completions",
        json={"model": f"vllm/{MODEL}", "messages": ASK},
        headers={"authorization": "Bearer client-key", "cookie": "a=b"},
    )
    assert answer.status_code == 200
    sent = fake.requests("/v1/chat/completions")[0]
    assert sent.header("authorization") == "Bearer backend-secret"
    assert sent.header("cookie") is None


def test_a_base_url_with_v1_reaches_the_same_place(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    backend = {"name": "vllm", "kind": "openai", "url": f"{openai_server.url}/v1/"}
    portal = start_portal(backends=[backend])
    answer = portal.client.post(
        "/v1/chat/completions", json={"model": f"vllm/{MODEL}", "messages": ASK}
    )
    assert answer.status_code == 200


def test_a_refused_connection_is_503_and_names_the_backend(
    start_portal: StartPortal, start_fake: StartFake
) -> None:
    fake = start_fake("openai_compatible")
    portal = start_portal(backends=[fake.backend("vllm")])
    fake.kill()
    answer = portal.client.post(
        "/v1/chat/completions", json={"model": f"vllm/{MODEL}", "messages": ASK}
    )
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "backend_unreachable"
    assert "vllm" in answer.json()["error"]["message"]


def test_a_stream_cut_by_the_backend_ends_with_an_error_event(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    openai_server.script(tokens=["one", " two", " three"], cut_after=2)
    portal = start_portal(backends=[openai_server.backend("vllm")])
    answer = portal.client.post(
        "/v1/chat/completions", json={"model": f"vllm/{MODEL}", "messages": ASK, "stream": True}
    )
    last = answer.text.rstrip().rpartition("data: ")[2]
    assert json.loads(last)["error"]["code"] == "backend_broken"
    assert "[DONE]" not in answer.text


def test_an_answer_cut_by_the_backend_is_502(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    openai_server.script(cut_after_bytes=40)
    portal = start_portal(backends=[openai_server.backend("vllm")])
    answer = portal.client.post(
        "/v1/chat/completions", json={"model": f"vllm/{MODEL}", "messages": ASK}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "backend_broken")


def test_a_silent_backend_is_504_after_its_limit(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    openai_server.script(hang=True)
    portal = start_portal(backends=[openai_server.backend("vllm", first_byte_seconds=0.3)])
    answer = portal.client.post(
        "/v1/chat/completions", json={"model": f"vllm/{MODEL}", "messages": ASK}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "backend_timeout")


def test_a_stream_that_stalls_ends_with_an_error_event(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    openai_server.script(tokens=["one", " two"], stall_after=1)
    portal = start_portal(backends=[openai_server.backend("vllm", stall_seconds=0.3)])
    answer = portal.client.post(
        "/v1/chat/completions", json={"model": f"vllm/{MODEL}", "messages": ASK, "stream": True}
    )
    assert json.loads(answer.text.rstrip().rpartition("data: ")[2])["error"]["code"] == (
        "backend_timeout"
    )


def test_silence_before_the_first_token_is_filled_with_comments(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    openai_server.script(tokens=["late"], manual=True, hold_head=True)
    portal = start_portal(
        server={"heartbeat_seconds": 0.05}, backends=[openai_server.backend("vllm")]
    )
    body = {"model": f"vllm/{MODEL}", "messages": ASK, "stream": True}
    with portal.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith(": ")
        openai_server.step(10)
        rest = "\n".join(lines)
    assert answer.status_code == 200
    assert '"late"' in rest
    assert "data: [DONE]" in rest


def test_a_raw_ollama_model_is_translated_and_tells_what_it_dropped(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(backends=[ollama.backend("ollama")])
    answer = portal.client.post(
        "/v1/chat/completions",
        json={
            "model": "ollama/qwen2.5:7b",
            "messages": ASK,
            "temperature": 0.5,
            "stop": ["END"],
            "logit_bias": {"5": 1},
        },
    )
    assert answer.json()["choices"][0]["message"]["content"] == "Echo: hi"
    assert answer.headers["x-portal-dropped"] == "logit_bias"
    sent = ollama.requests("/api/chat")[0].json
    assert sent["model"] == "qwen2.5:7b"
    sent["options"].pop("num_ctx")  # by the machine's memory
    assert sent["options"] == {"temperature": 0.5, "stop": ["END"]}


def test_ollamas_tool_calls_become_openai_tool_calls(
    start_portal: StartPortal, ollama: Fake
) -> None:
    ollama.script(tool_calls=[{"name": "weather", "arguments": {"city": "Rome"}}])
    portal = start_portal(backends=[ollama.backend("ollama")])
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    body = {"model": "ollama/qwen2.5:7b", "messages": ASK, "tools": [tool]}
    choice = portal.client.post("/v1/chat/completions", json=body).json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    call = choice["message"]["tool_calls"][0]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == (
        "weather",
        {"city": "Rome"},
    )
    assert ollama.requests("/api/chat")[0].json["tools"][0]["function"]["name"] == "weather"


@pytest.mark.parametrize("stream", [False, True])
def test_a_missing_ollama_model_is_404_in_openais_shape(
    start_portal: StartPortal, ollama: Fake, stream: bool
) -> None:
    portal = start_portal(backends=[ollama.backend("ollama")])
    answer = portal.client.post(
        "/v1/chat/completions",
        json={"model": "ollama/missing:1b", "messages": ASK, "stream": stream},
    )
    assert answer.status_code == 404
    assert "not found" in answer.json()["error"]["message"]


def test_bytes_that_are_no_text_are_not_relayed(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    portal = start_portal(backends=[openai_server.backend("vllm")])
    body = f'{{"model": "vllm/{MODEL}", "messages": {json.dumps(ASK)}, "x": "'.encode()
    answer = portal.client.post("/v1/chat/completions", content=body + b'\xff"}')
    assert answer.status_code == 400
    assert "UTF-8" in answer.json()["error"]["message"]
    assert openai_server.requests("/v1/chat/completions") == []


def test_headers_that_speak_for_the_backend_alone_are_not_relayed(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    own = {
        "x-ratelimit-remaining": "7",
        "clear-site-data": "*",
        "strict-transport-security": "max-age=1",
        "set-cookie": "a=b",
        "access-control-allow-origin": "*",
        "x-portal-route": "forged",
        "cache-control": "private",
    }
    openai_server.script(headers=own)
    portal = start_portal(backends=[openai_server.backend("vllm")])
    for stream in (False, True):
        body = {"model": f"vllm/{MODEL}", "messages": ASK, "stream": stream}
        headers = portal.client.post("/v1/chat/completions", json=body).headers
        assert headers["x-ratelimit-remaining"] == "7"
        assert headers.get_list("cache-control") == ["private"]
        assert headers["x-portal-route"] == f"-;vllm;{MODEL};named"
        for name in ("clear-site-data", "strict-transport-security", "set-cookie"):
            assert name not in headers
        assert "access-control-allow-origin" not in headers


def test_a_whole_answer_to_a_streamed_request_comes_as_it_is(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    whole = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 6}}
    openai_server.script(status=200, body=whole)
    portal = start_portal(backends=[openai_server.backend("vllm")])
    body = {"model": f"vllm/{MODEL}", "messages": ASK, "stream": True}
    answer = portal.client.post("/v1/chat/completions", json=body)
    assert answer.json() == whole
    owner = {"authorization": f"Bearer {portal.run_json()['token']}"}
    (record,) = portal.client.get("/portal/usage", headers=owner).json()["data"]
    assert (record["input_tokens"], record["output_tokens"]) == (5, 6)


def test_one_odd_model_does_not_hide_a_backends_others(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    listing = {"data": [{"id": "odd", "max_model_len": "4096", "created": 1e300}, {"id": "even"}]}
    openai_server.script(path="/v1/models", status=200, body=listing)
    portal = start_portal(backends=[openai_server.backend("vllm")])
    ids = [entry["id"] for entry in _settled_models(portal.client, 2)]
    assert ids[-2:] == ["vllm/odd", "vllm/even"]


def test_an_answer_that_is_not_http_is_502(start_portal: StartPortal, openai_server: Fake) -> None:
    openai_server.script(raw=b"HTTP/1.1 200 OK\r\ncontent-length: zebra\r\n\r\n")
    portal = start_portal(backends=[openai_server.backend("vllm")])
    for model in (f"vllm/{MODEL}", "auto"):
        answer = portal.client.post("/v1/chat/completions", json={"model": model, "messages": ASK})
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "backend_broken")


def test_models_lists_workspaces_first_and_every_backends_models(
    start_portal: StartPortal, ollama: Fake, openai_server: Fake
) -> None:
    portal = start_portal(
        backends=[ollama.backend("ollama"), openai_server.backend("vllm")],
        workspaces={"mine": {"description": "My own", "model": "qwen2.5:7b"}},
    )
    listed = _settled_models(portal.client, 5)
    shipped = ["auto", "auto-coding", "auto-reasoning", "auto-fast", "auto-vision"]
    assert [entry["id"] for entry in listed[:6]] == [*shipped, "mine"]
    by_id = {entry["id"]: entry for entry in listed}
    assert by_id["ollama/qwen2.5:7b"]["portal"]["quantization"] == "Q4_K_M"
    assert by_id[f"vllm/{MODEL}"]["portal"]["live"] is True
    one = portal.client.get(f"/v1/models/vllm/{MODEL}")
    assert one.json() == by_id[f"vllm/{MODEL}"]
    assert portal.client.get("/v1/models/nothing").status_code == 404


def _settled_models(client: httpx.Client, least: int) -> list[dict[str, Any]]:
    """Ask until discovery has found so many models; each question returns at once."""
    for _ in range(400):
        found = client.get("/v1/models").json()["data"]
        if (
            sum("/" in entry["id"] and entry["portal"]["kind"] == "model" for entry in found)
            >= least
        ):
            return list(found)
    raise AssertionError(f"never more than {len(found)} models")
