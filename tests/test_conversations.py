"""Conversations over HTTP, through `portal up`: stored, answered, branched, exported, imported."""

import json
import sqlite3
import time
from typing import Any

import httpx
import pytest

from portal.runtime.state.copying import NAME
from tests.conftest import StartPortal
from tests.harness import Fake, PortalProcess, run_cli

ALL = "/portal/conversations"


@pytest.fixture
def portal(start_portal: StartPortal, ollama: Fake) -> PortalProcess:
    """A Portal with one backend."""
    return start_portal(backends=[ollama.backend("ollama")])


def create(portal: PortalProcess, *said: tuple[str, str], **fields: Any) -> dict[str, Any]:
    """Make a conversation."""
    messages = [{"role": role, "content": content} for role, content in said]
    answer = portal.client.post(ALL, json={"messages": messages, **fields})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def add(portal: PortalProcess, id_: str, content: str, **fields: Any) -> httpx.Response:
    """Post a message of a user."""
    body = {"role": "user", "content": content, **fields}
    return portal.client.post(f"{ALL}/{id_}/messages", json=body)


def contents(portal: PortalProcess, id_: str) -> list[str]:
    """Read what was said."""
    data = portal.client.get(f"{ALL}/{id_}/messages").json()["data"]
    return [each["content"] for each in data]


def events_of(text: str) -> list[dict[str, Any]]:
    """Read the events of a stream that ended in order."""
    data = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    assert data.pop() == "[DONE]"
    return [json.loads(event) for event in data]


def eventually(portal: PortalProcess, id_: str, count: int) -> list[dict[str, Any]]:
    """Wait until a conversation has so many messages."""
    deadline = time.monotonic() + 10
    while True:
        data: list[dict[str, Any]] = portal.client.get(f"{ALL}/{id_}/messages").json()["data"]
        if len(data) >= count or time.monotonic() > deadline:
            assert len(data) == count
            return data
        time.sleep(0.02)


def test_conversations_survive_a_restart(portal: PortalProcess) -> None:
    made = create(portal, ("user", "Remember the milk"))
    add(portal, made["id"], "And the bread")

    portal.stop()
    portal.start()

    (found,) = portal.client.get(ALL).json()["data"]
    assert found["title"] == "Remember the milk"
    assert found["created_at"] == made["created_at"]
    assert found["created_at"].endswith("Z")
    assert contents(portal, made["id"]) == ["Remember the milk", "And the bread"]


def test_a_conversation_is_renamed_searched_and_deleted(portal: PortalProcess) -> None:
    made = create(portal, ("user", "How do I prune roses?"))
    path = f"{ALL}/{made['id']}"

    assert portal.client.patch(path, json={"title": "Garden"}).json()["title"] == "Garden"
    for text in ("garden", "prune roses", '"prune'):
        (found,) = portal.client.get(ALL, params={"search": text}).json()["data"]
        assert found["id"] == made["id"]
    assert portal.client.delete(path).json() == {"id": made["id"], "deleted": True}
    assert portal.client.get(path).status_code == 404
    assert portal.client.get(ALL, params={"search": "garden"}).json()["data"] == []


def test_a_list_is_paged_by_cursor(portal: PortalProcess) -> None:
    made = [create(portal, ("user", str(n)))["id"] for n in range(3)]

    first = portal.client.get(ALL, params={"limit": 2}).json()
    second = portal.client.get(ALL, params={"limit": 2, "cursor": first["next_cursor"]}).json()

    shown = [each["id"] for each in (*first["data"], *second["data"])]
    assert shown == made[::-1]
    assert second["next_cursor"] is None


def test_a_message_is_answered_with_all_that_was_said_before(
    portal: PortalProcess, ollama: Fake
) -> None:
    made = create(portal, ("user", "I am Ann."), ("assistant", "Hello Ann."))
    ollama.script(text="You are Ann.")

    answer = add(portal, made["id"], "Who am I?", reply=True, workspace="ollama/qwen2.5:7b")

    assert answer.status_code == 200, answer.text
    reply = answer.json()["reply"]
    assert (reply["content"], reply["model"], reply["incomplete"]) == (
        "You are Ann.",
        "ollama/qwen2.5:7b",
        False,
    )
    asked = ollama.requests("/api/chat")[-1].json["messages"]
    assert [(each["role"], each["content"]) for each in asked] == [
        ("user", "I am Ann."),
        ("assistant", "Hello Ann."),
        ("user", "Who am I?"),
    ]
    assert contents(portal, made["id"])[2:] == ["Who am I?", "You are Ann."]


def test_a_streamed_answer_is_stored_before_its_end_is_told(
    portal: PortalProcess, ollama: Fake
) -> None:
    made = create(portal)
    ollama.script(tokens=["Hel", "lo"])

    answer = add(portal, made["id"], "Hi", reply=True, stream=True)

    events = events_of(answer.text)
    assert "".join(each.get("text", "") for each in events if each["event"] == "text") == "Hello"
    stored, finish = events[-2:]
    assert (stored["event"], stored["code"]) == ("notice", "stored")
    assert finish["event"] == "finish"
    messages = portal.client.get(f"{ALL}/{made['id']}/messages").json()["data"]
    assert messages[1]["id"] == stored["text"]
    assert answer.headers["x-portal-route"].startswith("auto;ollama;")


def test_the_partial_answer_is_kept_when_the_client_leaves(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(backends=[ollama.backend("ollama")])
    made = create(portal)
    ollama.script(tokens=["One", " two", " three"], manual=True)
    ollama.step(2)
    body = {"role": "user", "content": "Count", "reply": True, "stream": True}

    with (
        httpx.Client(base_url=portal.url, trust_env=False, timeout=30) as client,
        client.stream("POST", f"{ALL}/{made['id']}/messages", json=body) as answer,
    ):
        seen = ""
        for piece in answer.iter_text():
            seen += piece
            if " two" in seen:
                break

    (_, partial) = eventually(portal, made["id"], 2)
    assert (partial["content"], partial["incomplete"]) == ("One two", True)


def test_the_partial_answer_is_kept_when_the_model_breaks(
    portal: PortalProcess, ollama: Fake
) -> None:
    made = create(portal)
    ollama.script(tokens=["One", " two", " three"], cut_after=2)

    answer = add(portal, made["id"], "Count", reply=True, stream=True)

    kinds = [each["event"] for each in events_of(answer.text)]
    assert kinds[-2:] == ["notice", "error"]
    (_, partial) = eventually(portal, made["id"], 2)
    assert (partial["content"], partial["incomplete"]) == ("One two", True)


def test_the_partial_answer_is_kept_when_portal_stops(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(backends=[ollama.backend("ollama")], server={"shutdown_seconds": 1.0})
    made = create(portal)
    ollama.script(tokens=["One", " two", " three"], manual=True)
    ollama.step(2)
    body = {"role": "user", "content": "Count", "reply": True, "stream": True}
    seen = ""
    with (
        httpx.Client(base_url=portal.url, trust_env=False, timeout=30) as client,
        client.stream("POST", f"{ALL}/{made['id']}/messages", json=body) as answer,
    ):
        for piece in answer.iter_text():
            seen += piece
            if " two" in seen and portal.alive:
                portal.stop()

    assert "shutting_down" in seen
    portal.start()
    (_, partial) = eventually(portal, made["id"], 2)
    assert (partial["content"], partial["incomplete"]) == ("One two", True)


def test_a_message_sent_again_is_stored_and_answered_once(
    portal: PortalProcess, ollama: Fake
) -> None:
    made = create(portal)
    ollama.script(text="Once")
    own = {"message_id": "0190a0a0-0000-7000-8000-00000000000a", "reply": True}

    first = add(portal, made["id"], "Hi", **own)
    again = add(portal, made["id"], "Hi", **own)
    streamed = add(portal, made["id"], "Hi", stream=True, **own)

    assert first.json() == again.json()
    assert [each["event"] for each in events_of(streamed.text)] == ["text", "notice", "finish"]
    assert contents(portal, made["id"]) == ["Hi", "Once"]
    assert len(ollama.requests("/api/chat")) == 1


def test_a_question_that_no_model_answers_is_kept_and_asked_along_next_time(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(backends=[ollama.backend("ollama")])
    made = create(portal)
    ollama.script(status=500, body={"error": "broken"}, times=20)
    assert add(portal, made["id"], "First", reply=True).status_code in (502, 503)
    ollama.reset()
    portal.client.post(
        "/portal/backends/reset",
        json={},
        headers={"authorization": f"Bearer {portal.run_json()['token']}"},
    )
    ollama.script(text="Both")

    answer = add(portal, made["id"], "Second", reply=True)

    assert answer.status_code == 200, answer.text
    asked = ollama.requests("/api/chat")[-1].json["messages"]
    assert [each["content"] for each in asked] == ["First\n\nSecond"]
    assert contents(portal, made["id"]) == ["First", "Second", "Both"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"stream": True}, "stream"),
        ({"role": "assistant", "reply": True}, "role"),
        ({"content": " ", "reply": True}, "content"),
        ({"role": "tool"}, "role"),
        ({"message_id": "mine"}, "message_id"),
        ({"unknown": 1}, None),
    ],
    ids=str,
)
def test_a_message_that_makes_no_sense_is_refused_and_not_stored(
    portal: PortalProcess, fields: dict[str, Any], param: str | None
) -> None:
    made = create(portal)

    answer = portal.client.post(
        f"{ALL}/{made['id']}/messages", json={"role": "user", "content": "Hi", **fields}
    )

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert contents(portal, made["id"]) == []


def test_a_branch_goes_its_own_way(portal: PortalProcess) -> None:
    made = create(portal, ("user", "One"), ("assistant", "Two"), ("user", "Three"))
    messages = portal.client.get(f"{ALL}/{made['id']}/messages").json()["data"]

    answer = portal.client.post(
        f"{ALL}/{made['id']}/branch", json={"message_id": messages[1]["id"]}
    )

    branch = answer.json()
    assert (branch["branch_of"], branch["branch_message"]) == (made["id"], messages[1]["id"])
    assert contents(portal, branch["id"]) == ["One", "Two"]


def test_an_export_is_imported_unchanged(portal: PortalProcess) -> None:
    made = create(portal, ("user", "Grüße\n\n*fett*"), ("assistant", "日本"), title="Mine")
    exported = portal.client.get(f"{ALL}/{made['id']}/export")
    assert "attachment" in exported.headers["content-disposition"]
    portal.client.delete(f"{ALL}/{made['id']}")

    first = portal.client.post(f"{ALL}/import", content=exported.content).json()
    again = portal.client.post(f"{ALL}/import", content=exported.content).json()

    (found,) = first["conversations"]
    assert (found["title"], found["created_at"]) == ("Mine", made["created_at"])
    assert contents(portal, found["id"]) == ["Grüße\n\n*fett*", "日本"]
    assert (again["conversations"], again["skipped"]) == ([], 1)


def test_markdown_is_for_people(portal: PortalProcess) -> None:
    made = create(portal, ("user", "Hi"), ("assistant", "Hello **you**"), title="Greeting")

    text = portal.client.get(f"{ALL}/{made['id']}/export", params={"format": "markdown"}).text

    assert text.startswith("# Greeting\n")
    assert "## You" in text
    assert "Hello **you**" in text


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"format": "other"}', b"[]", b'[{"a": 1}]'])
def test_a_file_of_something_else_is_refused(portal: PortalProcess, body: bytes) -> None:
    answer = portal.client.post(f"{ALL}/import", content=body)

    if body == b"[]":
        assert answer.json() == {"conversations": [], "skipped": 0}
    else:
        assert answer.status_code == 400, answer.text
    assert portal.client.get(ALL).json()["data"] == []


def test_a_lost_database_lets_the_chat_go_on_and_says_so(
    start_portal: StartPortal, ollama: Fake, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("lost")
    (folder / "state").mkdir()
    (folder / "state" / NAME).write_bytes(b"no database at all " * 500)

    portal = start_portal(folder=folder, backends=[ollama.backend("ollama")])

    health = portal.client.get("/health").json()
    assert health["status"] == "degraded"
    assert any("portal restore" in each for each in health["problems"])
    refused = portal.client.post(ALL, json={})
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "state_unavailable"
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
    assert portal.client.post("/v1/chat/completions", json=body).status_code == 200


def test_a_newer_schema_keeps_portal_from_starting(
    portal: PortalProcess,
) -> None:
    portal.stop()
    with sqlite3.connect(portal.state_dir / NAME) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()

    started = run_cli("up", "--no-browser", "--config", str(portal.config), portal=portal)

    assert started.returncode == 1
    assert "version 99" in started.stderr
    assert "versions up to" in started.stderr
    with sqlite3.connect(portal.state_dir / NAME) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()


def test_usage_is_kept_and_summed_by_day_user_and_model(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(backends=[ollama.backend("ollama")], state={"usage_seconds": 0.05})
    owner = {"authorization": f"Bearer {portal.run_json()['token']}"}
    body = {"model": "ollama/qwen2.5:7b", "messages": [{"role": "user", "content": "hi"}]}
    for _ in range(3):
        assert portal.client.post("/v1/chat/completions", json=body).status_code == 200
    before = portal.client.get("/portal/usage", headers=owner).json()["data"]
    portal.stop()
    portal.start()
    owner = {"authorization": f"Bearer {portal.run_json()['token']}"}
    assert portal.client.post("/v1/chat/completions", json=body).status_code == 200

    last = portal.client.get("/portal/usage", headers=owner).json()["data"]
    sums = {
        by: portal.client.get("/portal/usage", params={"by": by}, headers=owner).json()["data"]
        for by in ("day", "user", "model")
    }

    assert len(before) == 3
    assert len(last) == 4
    assert [each["answers"] for each in sums["day"]] == [4]
    assert sums["day"][0]["input_tokens"] == 44
    (model,) = sums["model"]
    assert (model["backend"], model["model"], model["answers"]) == ("ollama", "qwen2.5:7b", 4)
    (user,) = sums["user"]
    assert user["user"] == "local"
    assert portal.client.get("/portal/usage", params={"by": "x"}, headers=owner).status_code == 400
