"""Ollama's models through `portal up`: listed, shown, embedded with, managed, and passed on."""

import contextlib
import http.client
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import StartFake, StartPortal
from tests.harness import Fake, PortalProcess

QWEN = "qwen2.5:7b"
VLLM = "vllm/Qwen/Qwen2.5-7B-Instruct"
EMBEDDER = "nomic-embed-text:latest"
BLOB = f"/api/blobs/sha256:{'0' * 64}"


@pytest.fixture(scope="module")
def portal(ollama_program: Fake, openai_program: Fake) -> Iterator[PortalProcess]:
    """A Portal with both kinds of server, which knows their models."""
    backends = [ollama_program.backend("ollama"), openai_program.backend("vllm")]
    with PortalProcess(backends=backends) as portal:
        names(portal, EMBEDDER, VLLM)
        yield portal


def names(portal: PortalProcess, *expected: str) -> list[str]:
    """List the names of `/api/tags` as soon as these are among them; each question is short."""
    found: list[str] = []
    for _ in range(400):
        found = [row["name"] for row in portal.client.get("/api/tags").json()["models"]]
        if set(expected) <= set(found):
            return found
    raise AssertionError(f"never more than {found}")


def owner(portal: PortalProcess) -> dict[str, str]:
    """Headers by which the owner of the machine is known."""
    return {"authorization": f"Bearer {portal.run_json()['token']}"}


def test_tags_list_workspaces_personas_and_every_model(portal: PortalProcess, ollama: Fake) -> None:
    found = names(portal, QWEN)
    first_persona = found.index("persona/editor")
    assert found[0] == "auto"
    assert max(found.index("auto-vision"), 0) < first_persona < found.index(QWEN)
    assert {EMBEDDER, "llava:7b", VLLM} <= set(found)
    rows = portal.client.get("/api/tags").json()["models"]
    (row,) = (row for row in rows if row["name"] == QWEN)
    (own,) = (
        row
        for row in httpx.get(f"{ollama.url}/api/tags", trust_env=False).json()["models"]
        if row["name"] == QWEN
    )
    assert row["digest"] == own["digest"]
    assert row["details"] == own["details"]
    assert row["size"] == own["size"]


def test_a_model_on_two_ollamas_is_listed_with_its_backend(
    start_portal: StartPortal, start_fake: StartFake, ollama: Fake
) -> None:
    other = start_fake("ollama", "--models", f'["{QWEN}"]')
    portal = start_portal(backends=[ollama.backend("one"), other.backend("two")])
    found = names(portal, f"one/{QWEN}", f"two/{QWEN}")
    assert QWEN not in found
    assert EMBEDDER in found
    body = {"model": f"two/{QWEN}", "messages": [{"role": "user", "content": "hi"}]}
    portal.client.post("/api/chat", json=body)
    assert ollama.requests("/api/chat") == []
    assert other.requests("/api/chat")[0].json["model"] == QWEN


def test_a_model_on_ollama_is_shown_by_it(portal: PortalProcess, ollama: Fake) -> None:
    before = len(ollama.requests("/api/show"))
    verbose = {"model": f"ollama/{QWEN}", "verbose": True}
    for body, arrived in ((verbose, {**verbose, "model": QWEN}), ({"name": QWEN}, {"name": QWEN})):
        answer = portal.client.post("/api/show", json=body)
        sent = ollama.requests("/api/show")[-1]
        assert answer.content == sent.answer
        assert sent.json == arrived
    assert len(ollama.requests("/api/show")) == before + 2


def test_what_is_not_on_ollama_is_shown_by_portal(portal: PortalProcess) -> None:
    model = portal.client.post("/api/show", json={"model": VLLM}).json()
    assert model["model_info"]["qwen2.5.context_length"] > 0
    assert "completion" in model["capabilities"]
    workspace = portal.client.post("/api/show", json={"model": "auto"}).json()
    assert workspace["model_info"]["general.architecture"] == "portal"
    assert {"completion", "tools", "vision"} <= set(workspace["capabilities"])
    assert portal.client.post("/api/show", json={"model": "nobody"}).status_code == 404
    assert portal.client.post("/api/show", json={}).status_code == 400


def test_ps_lists_what_ollama_says_of_its_memory_now(portal: PortalProcess, ollama: Fake) -> None:
    assert portal.client.get("/api/ps").json() == {"models": []}
    portal.client.post("/api/generate", json={"model": QWEN, "options": {"num_ctx": 2048}})
    (row,) = portal.client.get("/api/ps").json()["models"]
    assert (row["name"], row["context_length"]) == (QWEN, 2048)
    assert row["expires_at"]


def test_a_silent_ollama_does_not_hold_up_ps_or_version(
    portal: PortalProcess, ollama: Fake
) -> None:
    for path in ("/api/ps", "/api/version"):
        ollama.script(path=path, hang=True)
    assert portal.client.get("/api/ps", timeout=20).status_code == 200
    assert portal.client.get("/api/version", timeout=20).json() == {"version": "0.13.0"}


def test_the_version_is_the_live_ollamas_own(portal: PortalProcess, ollama: Fake) -> None:
    ollama.script(path="/api/version", status=200, body={"version": "9.8.7"})
    assert portal.client.get("/api/version").json() == {"version": "9.8.7"}


@pytest.mark.parametrize("model", [EMBEDDER, "nomic-embed-text", f"ollama/{EMBEDDER}", "auto"])
def test_texts_become_vectors(portal: PortalProcess, ollama: Fake, model: str) -> None:
    made = portal.client.post("/api/embed", json={"model": model, "input": ["a", "b"]}).json()
    assert made["model"] == model
    assert [len(vector) for vector in made["embeddings"]] == [8, 8]
    assert made["prompt_eval_count"] == 2
    assert ollama.requests("/api/embed")[0].json["model"] == EMBEDDER
    one = portal.client.post("/api/embed", json={"model": model, "input": "a"}).json()
    assert one["embeddings"] == made["embeddings"][:1]
    old = portal.client.post("/api/embeddings", json={"model": model, "prompt": "b"}).json()
    assert old == {"embedding": made["embeddings"][1]}


def test_no_text_makes_no_vector(portal: PortalProcess, ollama: Fake) -> None:
    for body in ({"model": EMBEDDER}, {"model": EMBEDDER, "input": ""}):
        assert portal.client.post("/api/embed", json=body).json()["embeddings"] == []
    assert portal.client.post("/api/embeddings", json={"model": EMBEDDER}).json() == {
        "embedding": []
    }
    assert ollama.requests("/api/embed") == []
    assert portal.client.post("/api/embed", json={"model": "nobody"}).status_code == 404


def test_what_an_embedding_has_no_place_for_is_told(portal: PortalProcess, ollama: Fake) -> None:
    body = {"model": EMBEDDER, "input": "a", "keep_alive": "5m", "options": {"num_ctx": 5}}
    answer = portal.client.post("/api/embed", json=body)
    assert answer.headers["x-portal-dropped"] == "keep_alive, options"


def test_a_pull_streams_ollamas_progress_and_the_model_is_there(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(backends=[ollama.backend("ollama")])
    body: dict[str, Any] = {"model": "ollama/llama3.2:1b"}
    answer = portal.client.post("/api/pull", json=body, headers=owner(portal))
    assert answer.headers["content-type"] == "application/x-ndjson"
    steps = answer.text.splitlines()
    assert steps[0] == '{"status":"pulling manifest"}'
    assert steps[-1] == '{"status":"success"}'
    assert ollama.requests("/api/pull")[0].json["model"] == "llama3.2:1b"
    assert "llama3.2:1b" in [row["name"] for row in portal.client.get("/api/tags").json()["models"]]
    body = {"name": "llama3.2:3b", "stream": False}
    answer = portal.client.post("/api/pull", json=body, headers=owner(portal))
    assert answer.json() == {"status": "success"}


def test_a_pull_that_fails_midway_ends_with_its_error(portal: PortalProcess, ollama: Fake) -> None:
    ollama.script(path="/api/pull", error_after=2, error="max retries exceeded")
    answer = portal.client.post("/api/pull", json={"model": "x:1b"}, headers=owner(portal))
    assert "max retries exceeded" in answer.text.splitlines()[-1]
    assert '{"error":' in answer.text.splitlines()[-1]
    body = {"model": "x:1b", "insecure": True}
    refused = portal.client.post("/api/pull", json=body, headers=owner(portal))
    assert refused.status_code == 400
    assert "`insecure`" in refused.json()["error"]


def test_a_deleted_model_is_gone_at_once(start_portal: StartPortal, ollama: Fake) -> None:
    portal = start_portal(backends=[ollama.backend("ollama")])
    names(portal, "llava:7b")
    body = {"model": "ollama/llava:7b"}
    answer = portal.client.request("DELETE", "/api/delete", json=body, headers=owner(portal))
    assert (answer.status_code, answer.content) == (200, b"")
    assert ollama.requests("/api/delete")[0].json == {"model": "llava:7b"}
    found = [row["name"] for row in portal.client.get("/api/tags").json()["models"]]
    assert "llava:7b" not in found
    again = portal.client.request("DELETE", "/api/delete", json=body, headers=owner(portal))
    assert (again.status_code, list(again.json())) == (404, ["error"])


@pytest.mark.parametrize(
    ("method", "path", "body", "sent"),
    [
        (
            "POST",
            "/api/copy",
            '{"source":  "ollama/llava:7b", "destination": "ollama/b"}',
            '{"source":"llava:7b","destination":"b"}',
        ),
        (
            "POST",
            "/api/create",
            '{"from": "llava:7b",  "model": "c", "system": "x"}',
            '{"from": "llava:7b",  "model": "c", "system": "x"}',
        ),
        ("POST", "/api/push", '{"model": "me/llava:7b"}', '{"model": "me/llava:7b"}'),
        ("POST", BLOB, "\x00\x01 no JSON", "\x00\x01 no JSON"),
        ("GET", BLOB, "", ""),
        ("HEAD", BLOB, "", ""),
        ("POST", "/api/new/thing", '{"a":  1}', '{"a":  1}'),
        ("GET", "/api/new/thing", "", ""),
        ("DELETE", "/api/new/thing", '{"a":  1}', '{"a":  1}'),
    ],
)
def test_everything_else_passes_to_ollama_and_back_as_it_is(
    portal: PortalProcess, ollama: Fake, method: str, path: str, body: str, sent: str
) -> None:
    ollama.script(
        path=path, status=207, body="as it is", content_type="text/x-odd", headers={"x-why": "so"}
    )
    answer = portal.client.request(method, path, content=body, headers=owner(portal))
    (arrived,) = ollama.requests(path)
    assert (arrived.method, arrived.body) == (method, sent)
    assert (answer.status_code, answer.headers["x-why"]) == (207, "so")
    assert answer.headers["content-type"] == "text/x-odd"
    assert answer.text == ("" if method == "HEAD" else "as it is")
    assert arrived.header("authorization") is None


def test_a_query_and_odd_letters_of_a_path_arrive(portal: PortalProcess, ollama: Fake) -> None:
    ollama.script(path="/api/odd%20one/%C3%A9", status=200, body={"ok": True})
    answer = portal.client.get("/api/odd%20one/%C3%A9?a=1&b=%26")
    assert answer.json() == {"ok": True}
    assert ollama.requests("/api/odd%20one/%C3%A9")[0].query == {"a": "1", "b": "&"}


def test_progress_that_is_passed_on_streams(portal: PortalProcess, ollama: Fake) -> None:
    lines = '{"status":"reading"}\n{"status":"success"}\n'
    ollama.script(path="/api/create", status=200, body=lines, content_type="application/x-ndjson")
    body = {"model": "c", "from": QWEN}
    answer = portal.client.post("/api/create", json=body, headers=owner(portal))
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.text == lines


def test_a_request_goes_to_the_ollama_that_has_the_model(
    start_portal: StartPortal, start_fake: StartFake, ollama: Fake
) -> None:
    other = start_fake("ollama", "--models", '["only-here:1b"]')
    portal = start_portal(backends=[ollama.backend("one"), other.backend("two")])
    names(portal, "only-here:1b", QWEN)
    other.script(path="/api/create", status=200, body={"status": "success"})
    for source in ("only-here:1b", "two/only-here:1b"):
        body = {"model": "mine", "from": source}
        assert portal.client.post("/api/create", json=body, headers=owner(portal)).is_success
    sent = [request.json for request in other.requests("/api/create")]
    assert sent == [{"model": "mine", "from": "only-here:1b"}] * 2
    mixed = {"source": "two/only-here:1b", "destination": "one/b"}
    refused = portal.client.post("/api/copy", json=mixed, headers=owner(portal))
    assert refused.status_code == 400
    assert "`destination`" in refused.json()["error"]


@pytest.mark.parametrize("model", ["auto", VLLM])
def test_what_is_not_on_ollama_cannot_be_managed_there(portal: PortalProcess, model: str) -> None:
    for method, path in (("POST", "/api/pull"), ("POST", "/api/push"), ("DELETE", "/api/delete")):
        body = {"model": model}
        answer = portal.client.request(method, path, json=body, headers=owner(portal))
        assert answer.status_code == 400
        assert model in answer.json()["error"]


@pytest.mark.parametrize("first", ["pull", "PULL", "blobs", "me", "signout", "experimental"])
def test_a_path_of_the_owner_is_closed_however_it_is_written(
    portal: PortalProcess, ollama: Fake, first: str
) -> None:
    for path in (
        f"/api/{first}",
        f"/api/{first}/",
        f"/api/{first}/more",
        f"/api//{first}",
        f"/api/x/../{first}",
        f"/api/%2e/{first}",
        f"/api/x/%2E%2e/{first}",
        f"/api/x%2f..%2f{first}",
    ):
        # Unlike httpx, this client does not tidy a path up.
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", portal.port)) as client:
            client.request("POST", path, body=b'{"model": "x:1b"}')
            answer = client.getresponse()
            assert answer.status in (403, 404)
            assert list(json.loads(answer.read())) == ["error"]
    assert [request.path for request in ollama.requests() if request.method == "POST"] == []


def test_without_any_ollama_its_paths_say_so(
    start_portal: StartPortal, openai_server: Fake
) -> None:
    portal = start_portal(backends=[openai_server.backend("vllm")])
    for method, path in (
        ("POST", "/api/pull"),
        ("POST", "/api/copy"),
        ("DELETE", "/api/delete"),
        ("GET", "/api/other"),
    ):
        body = {"model": "x"}
        answer = portal.client.request(method, path, json=body, headers=owner(portal))
        assert (answer.status_code, list(answer.json())) == (404, ["error"])
        assert "Ollama" in answer.json()["error"]
    assert portal.client.get("/api/version").json() == {"version": "0.13.0"}
    assert portal.client.get("/api/ps").json() == {"models": []}
    assert names(portal, VLLM)[0] == "auto"


def test_a_dead_ollama_is_503_and_its_models_are_not_listed(
    start_portal: StartPortal, start_fake: StartFake
) -> None:
    fake = start_fake("ollama")
    portal = start_portal(backends=[fake.backend("ollama")], server={"discover_seconds": 0.05})
    names(portal, QWEN)
    fake.kill()
    for _ in range(400):
        answer = portal.client.get("/api/other")
        found = names(portal, "auto")
        if QWEN not in found:
            break
    assert QWEN not in found
    answer = portal.client.get("/api/other")
    assert (answer.status_code, list(answer.json())) == (503, ["error"])
