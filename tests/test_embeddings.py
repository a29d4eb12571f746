"""POST /v1/embeddings: vectors from whichever backend has a model for them, in OpenAI's shape."""

import base64
import importlib.util
import struct
from typing import Any

import httpx
import pytest

from tests.conftest import StartFake, StartPortal
from tests.harness import Fake, PortalProcess

PATH = "/v1/embeddings"
NOMIC = "ollama/nomic-embed-text:latest"
VLLM = "vllm/Qwen/Qwen2.5-7B-Instruct"
HAS_OWN = importlib.util.find_spec("wordllama") is not None


def embedded(portal: PortalProcess, **body: Any) -> httpx.Response:
    """Ask for vectors."""
    answer = portal.client.post(PATH, json={"model": "auto", "input": ["one two", "three"]} | body)
    assert answer.status_code == 200, answer.text
    return answer


def refused(portal: PortalProcess, **body: Any) -> tuple[int, str, str]:
    """Ask for what is refused; give status, code and message."""
    answer = portal.client.post(PATH, json={"model": NOMIC, "input": "one"} | body)
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["message"]


def test_ollama_embeds_in_openais_shape(start_portal: StartPortal, ollama: Fake) -> None:
    portal = start_portal(backends=[ollama])
    answer = embedded(portal, model=NOMIC)
    found = answer.json()
    assert (found["object"], found["model"]) == ("list", NOMIC)
    assert found["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert [(row["object"], row["index"]) for row in found["data"]] == [
        ("embedding", 0),
        ("embedding", 1),
    ]
    assert len(found["data"][0]["embedding"]) == 8
    assert found["data"][0]["embedding"] != found["data"][1]["embedding"]
    assert answer.headers["x-portal-route"] == "-;ollama;nomic-embed-text:latest;embeddings"
    (sent,) = ollama.requests("/api/embed")
    assert sent.json["input"] == ["one two", "three"]
    alone = embedded(portal, model=NOMIC, input="three").json()
    assert alone["data"][0]["embedding"] == found["data"][1]["embedding"]


@pytest.mark.parametrize("name", ["nomic-embed-text", "ollama/nomic-embed-text", NOMIC])
def test_an_embedding_model_goes_by_every_name_it_has(
    start_portal: StartPortal, ollama: Fake, name: str
) -> None:
    portal = start_portal(backends=[ollama])
    assert embedded(portal, model=name).json()["model"] == NOMIC


def test_an_openai_server_embeds(start_portal: StartPortal, openai_server: Fake) -> None:
    portal = start_portal(backends=[openai_server.backend("vllm")])
    found = embedded(portal, model=VLLM, dimensions=4).json()
    assert [len(row["embedding"]) for row in found["data"]] == [4, 4]
    assert found["usage"]["prompt_tokens"] == 3
    assert openai_server.requests(PATH)[0].json["dimensions"] == 4


def test_base64_is_the_same_vector_packed(start_portal: StartPortal, ollama: Fake) -> None:
    portal = start_portal(backends=[ollama])
    plain = embedded(portal).json()["data"]
    packed = embedded(portal, encoding_format="base64").json()["data"]
    for one, other in zip(plain, packed, strict=True):
        data = base64.b64decode(other["embedding"], validate=True)
        assert struct.unpack("<8f", data) == pytest.approx(one["embedding"])


def test_dimensions_reach_ollama(start_portal: StartPortal, ollama: Fake) -> None:
    portal = start_portal(backends=[ollama])
    assert len(embedded(portal, dimensions=3).json()["data"][0]["embedding"]) == 3


def test_auto_takes_a_model_that_embeds_and_not_one_that_chats(
    start_portal: StartPortal, ollama: Fake, openai_server: Fake
) -> None:
    portal = start_portal(backends=[openai_server.backend("vllm"), ollama])
    assert embedded(portal).json()["model"] == NOMIC
    assert openai_server.requests(PATH) == []


def test_auto_goes_on_to_another_model_when_one_fails(
    start_portal: StartPortal, ollama: Fake, start_fake: StartFake
) -> None:
    other = start_fake("ollama")
    ollama.script(path="/api/embed", status=500, body={"error": "out of memory"})
    portal = start_portal(backends=[ollama, other.backend("other")])
    assert embedded(portal).json()["model"] == "other/nomic-embed-text:latest"
    assert refused(portal)[:2] == (502, "backend_refused")


@pytest.mark.skipif(HAS_OWN, reason="Portal's own embedding model is installed")
def test_without_any_embedding_model_the_refusal_says_how_to_get_one(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    portal = start_portal(backends=[openai_server])
    status, code, message = refused(portal, model="auto")
    assert (status, code) == (400, "no_capable_model")
    assert "portal models pull nomic-embed-text" in message
    assert "portal-local[knowledge]" in message


@pytest.mark.skipif(not HAS_OWN, reason="Portal's own embedding model is not installed")
def test_without_a_backends_model_portals_own_does_it(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    portal = start_portal(backends=[openai_server])
    found = embedded(portal).json()
    assert found["model"].startswith("portal/")
    assert len(found["data"][0]["embedding"]) == 256
    assert embedded(portal, model=found["model"]).json() == found
    assert refused(portal, model="auto", dimensions=4)[1] == "invalid_request"


@pytest.mark.parametrize("text", ["", [], [""], ["one", ""], [1, 2], [[1, 2]], None, 7])
def test_what_is_no_text_is_refused_before_any_backend_is_asked(
    start_portal: StartPortal, ollama: Fake, text: Any
) -> None:
    portal = start_portal(backends=[ollama])
    status, code, message = refused(portal, input=text)
    assert (status, code) == (400, "invalid_request")
    assert "input" in message
    assert ollama.requests("/api/embed") == []


@pytest.mark.parametrize(
    "body",
    [
        {"dimensions": 0},
        {"encoding_format": "int8"},
        {"input": ["a"] * 2049},
        {"model": None},
    ],
)
def test_other_faults_of_the_request_are_named(
    start_portal: StartPortal, ollama: Fake, body: dict[str, Any]
) -> None:
    portal = start_portal(backends=[ollama])
    status, code, message = refused(portal, **body)
    assert (status, code) == (400, "invalid_request")
    assert next(iter(body)) in message


@pytest.mark.parametrize("name", ["auto-fast", "persona/tutor"])
def test_a_workspace_does_not_embed(start_portal: StartPortal, ollama: Fake, name: str) -> None:
    portal = start_portal(backends=[ollama])
    status, code, message = refused(portal, model=name)
    assert (status, code) == (400, "invalid_request")
    assert f"{name!r} is a workspace" in message


def test_unknown_models_and_texts_too_long_are_the_requests_fault(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(backends=[ollama], breaker={"failures": 1})
    assert refused(portal, model="nomic-embed")[:2] == (404, "model_not_found")
    assert refused(portal, model="ollama/nope")[0] == 404
    assert refused(portal, input="word " * 40_000)[:2] == (400, "context_length_exceeded")
    embedded(portal, model=NOMIC)  # nothing was held against it


def test_a_failing_embedder_is_left_alone_after_its_failures(
    start_portal: StartPortal, ollama: Fake
) -> None:
    ollama.script(path="/api/embed", status=500, body={"error": "out of memory"})
    portal = start_portal(backends=[ollama], breaker={"failures": 2, "recovery_seconds": 300})
    found = [refused(portal)[:2] for _ in range(4)]
    assert found == [(502, "backend_refused")] * 2 + [(503, "backend_paused")] * 2
    assert len(ollama.requests("/api/embed")) == 2
