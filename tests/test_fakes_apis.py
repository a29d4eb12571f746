"""The fake backends answer as the servers that they stand for."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.fakes.asking import CHAT, VLLM_MODEL, ask, ask_ollama, events, get, lines, post
from tests.fakes.openai_wording import VENDOR
from tests.harness import Fake

StartFake = Callable[..., Fake]


def test_ollama_says_that_it_runs_and_which_version(ollama: Fake) -> None:
    assert get(ollama, "/").text == "Ollama is running"
    assert get(ollama, "/api/version").json()["version"].count(".") == 2


def test_ollama_lists_models_with_details_and_shows_capabilities_and_context(ollama: Fake) -> None:
    rows = get(ollama, "/api/tags").json()["models"]
    assert [row["name"] for row in rows][:2] == ["qwen2.5:7b", "deepseek-r1:8b"]
    assert rows[0]["details"]["quantization_level"] == "Q4_K_M"
    shown = post(ollama, "/api/show", {"model": "deepseek-r1:8b"}).json()
    assert "thinking" in shown["capabilities"]
    architecture = shown["model_info"]["general.architecture"]
    assert shown["model_info"][f"{architecture}.context_length"] == 131072


def test_ollama_streams_lines_by_default_and_one_object_on_demand(ollama: Fake) -> None:
    streamed = post(ollama, "/api/chat", ask_ollama())
    assert streamed.headers["content-type"] == "application/x-ndjson"
    *pieces, last = lines(streamed)
    assert [piece["message"]["content"] for piece in pieces] == ["Echo:", " one", " two"]
    assert (last["done"], last["done_reason"], last["eval_count"]) == (True, "stop", 3)
    whole = post(ollama, "/api/chat", ask_ollama(stream=False)).json()
    assert whole["message"] == {"role": "assistant", "content": "Echo: one two"}
    assert whole["prompt_eval_count"] == 11


def test_ollama_gives_thinking_and_tool_calls_fields_of_their_own(ollama: Fake) -> None:
    call = {"name": "add", "arguments": {"a": 1}}
    ollama.script(reasoning=["hm", "m"], tokens=["ok"], tool_calls=[call])
    *pieces, last = lines(post(ollama, "/api/chat", ask_ollama(model="deepseek-r1:8b")))
    assert [piece["message"].get("thinking") for piece in pieces] == ["hm", "m", None, None]
    assert pieces[3]["message"]["tool_calls"][0]["function"] == {"index": 0} | call
    assert last["done_reason"] == "stop"
    quiet = post(ollama, "/api/chat", ask_ollama(model="deepseek-r1:8b", think=False))
    assert "thinking" not in quiet.text


def test_ollama_generates_and_embeds(ollama: Fake) -> None:
    asked = {"model": "qwen2.5:7b", "prompt": "hi", "stream": False}
    assert post(ollama, "/api/generate", asked).json()["response"] == "Echo: hi"
    asked = {"model": "nomic-embed-text", "input": ["a", "b"]}
    vectors = post(ollama, "/api/embed", asked).json()["embeddings"]
    assert len(vectors) == 2
    assert vectors[0] != vectors[1]


def test_ollama_knows_what_is_loaded_and_with_which_context(ollama: Fake) -> None:
    assert get(ollama, "/api/ps").json() == {"models": []}
    post(ollama, "/api/chat", ask_ollama(options={"num_ctx": 8192}))
    (row,) = get(ollama, "/api/ps").json()["models"]
    assert (row["name"], row["context_length"]) == ("qwen2.5:7b", 8192)
    post(ollama, "/api/chat", {"model": "qwen2.5:7b", "messages": [], "keep_alive": 0})
    assert get(ollama, "/api/ps").json() == {"models": []}


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"model": "nope"}, 404, 'model "nope" not found, try pulling it first'),
        ({"model": ""}, 400, "model is required"),
        ({"messages": "hi"}, 400, "cannot unmarshal"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, 400, "cannot unmarshal"),
        ({"messages": [{"role": "user", "images": ["data:x,y"]}]}, 400, "illegal base64"),
        ({"think": True}, 400, "does not support thinking"),
        ({"options": {"stop": "x"}}, 500, 'option "stop" must be of type array'),
        ({"model": "nomic-embed-text"}, 400, "does not support chat"),
        ({"model": "llava:7b", "tools": [{"type": "function"}]}, 400, "does not support tools"),
    ],
)
def test_ollama_refuses_what_the_real_one_refuses(
    ollama: Fake, change: dict[str, Any], status: int, words: str
) -> None:
    answer = post(ollama, "/api/chat", ask_ollama() | change)
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_ollama_refuses_malformed_bodies_and_ignores_unknown_fields(ollama: Fake) -> None:
    with httpx.Client(base_url=ollama.url, trust_env=False) as client:
        assert client.post("/api/chat", content=b"{no").status_code == 400
        assert client.post("/api/chat").json() == {"error": "missing request body"}
        assert client.post("/v1/nothing").text == "404 page not found"
    assert post(ollama, "/api/chat", ask_ollama(x_unknown=1)).status_code == 200


def test_openai_streams_role_content_finish_usage_and_done(openai_server: Fake) -> None:
    body = ask(stream=True, stream_options={"include_usage": True})
    answer = post(openai_server, CHAT, body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    first, *content, finish, usage = events(answer)
    assert first["choices"][0]["delta"]["role"] == "assistant"
    assert [c["choices"][0]["delta"]["content"] for c in content] == ["Echo:", " one", " two"]
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 14)
    assert "usage" not in events(post(openai_server, CHAT, ask(stream=True)))[-1]


def test_openai_answers_whole_and_honours_the_token_limit(openai_server: Fake) -> None:
    (choice,) = post(openai_server, CHAT, ask(max_tokens=2)).json()["choices"]
    assert choice["message"] == {"role": "assistant", "content": "Echo: one"}
    assert choice["finish_reason"] == "length"


def test_openai_sends_tool_calls_in_pieces_that_join_to_the_arguments(openai_server: Fake) -> None:
    calls = [{"name": "f", "arguments": {"q": "käse"}}, {"name": "g"}]
    openai_server.script(tool_calls=calls, reasoning=["so"])
    chunks = events(post(openai_server, CHAT, ask(stream=True)))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[1] == {"reasoning_content": "so"}
    parts = [part for delta in deltas for part in delta.get("tool_calls", ())]
    text = "".join(part["function"]["arguments"] for part in parts if part["index"] == 0)
    assert json.loads(text) == {"q": "käse"}
    assert [p["function"]["name"] for p in parts if "id" in p] == ["f", "g"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    whole = post(openai_server, CHAT, ask()).json()["choices"][0]["message"]
    assert whole["content"] is None
    assert whole["tool_calls"][1]["function"] == {"name": "g", "arguments": "{}"}


def test_every_answer_carries_bytes_that_re_encoding_would_lose(openai_server: Fake) -> None:
    for body in (ask(), ask(stream=True)):
        answer = post(openai_server, CHAT, body)
        assert VENDOR in answer.content
        assert json.dumps(json.loads(b"{" + VENDOR + b"}")).encode() != b"{" + VENDOR + b"}"
        assert openai_server.requests(CHAT)[-1].answer == answer.content


def test_openai_completes_and_embeds(openai_server: Fake) -> None:
    asked = {"model": VLLM_MODEL, "prompt": "hi"}
    answer = post(openai_server, "/v1/completions", asked).json()
    assert answer["choices"][0]["text"] == "Echo: hi"
    streamed = events(post(openai_server, "/v1/completions", asked | {"stream": True}))
    assert "".join(c["choices"][0]["text"] for c in streamed) == "Echo: hi"
    texts = {"model": VLLM_MODEL, "input": ["a", "b"]}
    rows = post(openai_server, "/v1/embeddings", texts).json()["data"]
    assert [row["index"] for row in rows] == [0, 1]


def test_flavours_differ_as_the_real_servers_do(openai_server: Fake, start_fake: StartFake) -> None:
    llamacpp = start_fake("openai_compatible", "--flavour", "llamacpp")
    lmstudio = start_fake("openai_compatible", "--flavour", "lmstudio")
    row = get(openai_server, "/v1/models").json()["data"][0]
    assert (row["id"], row["max_model_len"]) == (VLLM_MODEL, 32768)
    error = post(openai_server, CHAT, ask() | {"model": "nope"})
    assert error.status_code == 404
    assert error.json()["error"] == {
        "message": "The model `nope` does not exist.",
        "type": "NotFoundError",
        "param": "model",
        "code": 404,
    }
    assert get(openai_server, "/health").content == b""
    assert post(llamacpp, CHAT, ask() | {"model": "whatever"}).status_code == 200
    assert get(llamacpp, "/health").json() == {"status": "ok"}
    assert get(llamacpp, "/props").json()["default_generation_settings"]["n_ctx"] == 32768
    assert post(llamacpp, "/tokenize", {"content": "a b"}).json() == {"tokens": [100, 101]}
    strange = get(lmstudio, "/health")
    assert (strange.status_code, "Unexpected endpoint" in strange.text) == (200, True)
    assert post(lmstudio, CHAT, ask() | {"model": "nope"}).status_code == 404


def test_a_required_key_is_required(start_fake: StartFake) -> None:
    guarded = start_fake("openai_compatible", "--api-key", "right")
    assert post(guarded, CHAT, ask()).status_code == 401
    good = post(guarded, CHAT, ask(), headers={"Authorization": "Bearer right"})
    assert good.status_code == 200


@pytest.mark.parametrize("body", [b"{no", b'{"model": 7}', b'{"messages": []}', b"[" * 5000])
def test_openai_refuses_malformed_bodies(openai_server: Fake, body: bytes) -> None:
    with httpx.Client(base_url=openai_server.url, trust_env=False) as client:
        answer = client.post(CHAT, content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == 400


@pytest.mark.integration
def test_the_official_client_understands_the_fake(openai_server: Fake) -> None:
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=f"{openai_server.url}/v1", api_key="x") as client:
        said = client.chat.completions.create(**ask())
        assert said.choices[0].message.content == "Echo: one two"
        stream = client.chat.completions.create(
            **ask(), stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
    assert chunks[-1].usage.total_tokens == 14
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "Echo: one two"
