"""Personas while Portal runs: files that change, channels, and `@model:` beside them."""

from pathlib import Path
from typing import Any

from tests.conftest import StartPortal
from tests.harness import Fake, PortalProcess

ASK = [{"role": "user", "content": "hello"}]
PIRATE = "name: Pirate\ndescription: Speaks so.\nsystem: Arr.\n"


def listed(portal: PortalProcess) -> list[str]:
    return [each["id"] for each in portal.client.get("/v1/personas").json()["data"]]


def until(portal: PortalProcess, wanted: str, *, there: bool) -> None:
    """Ask until a persona has come or gone; each question returns at once."""
    for _ in range(2000):
        if (wanted in listed(portal)) == there:
            return
    raise AssertionError(f"{wanted} {'never came' if there else 'stayed'}")


def system_of(fake: Fake) -> Any:
    return fake.requests("/api/chat")[-1].json["messages"][0]


def test_a_persona_comes_changes_and_goes_with_its_file(
    start_portal: StartPortal, ollama: Fake, tmp_path: Path
) -> None:
    portal = start_portal(
        server={"discover_seconds": 0.05},
        backends=[ollama.backend("ollama")],
        personas_dir=str(tmp_path),
    )
    file = tmp_path / "pirate.yaml"
    file.write_text(PIRATE, encoding="utf-8")
    until(portal, "pirate", there=True)
    body = {"model": "persona/pirate", "messages": ASK}
    assert portal.client.post("/v1/chat/completions", json=body).status_code == 200
    assert system_of(ollama) == {"role": "system", "content": "Arr."}
    file.unlink()
    until(portal, "pirate", there=False)
    assert portal.client.post("/v1/chat/completions", json=body).status_code == 404


def test_a_bad_file_leaves_the_personas_as_they_were(
    start_portal: StartPortal, ollama: Fake, tmp_path: Path
) -> None:
    (tmp_path / "pirate.yaml").write_text(PIRATE, encoding="utf-8")
    portal = start_portal(
        server={"discover_seconds": 0.05},
        backends=[ollama.backend("ollama")],
        personas_dir=str(tmp_path),
    )
    (tmp_path / "bad.yaml").write_text("name: [", encoding="utf-8")
    for _ in range(2000):
        if "the personas stay as they were" in portal.logs():
            break
        portal.client.get("/health/live")
    else:
        raise AssertionError("the bad file was never noticed")
    assert "pirate" in listed(portal)
    (tmp_path / "bad.yaml").write_text(PIRATE, encoding="utf-8")
    until(portal, "bad", there=True)


def test_a_persona_speaks_otherwise_on_a_channel_that_it_has_words_for(
    start_portal: StartPortal, ollama: Fake, tmp_path: Path
) -> None:
    (tmp_path / "p.yaml").write_text(PIRATE + "prompts: {cli: Be brief.}\n", encoding="utf-8")
    portal = start_portal(backends=[ollama.backend("ollama")], personas_dir=str(tmp_path))
    for channel, system in (("cli", "Arr.\n\nBe brief."), ("web", "Arr.")):
        body = {"messages": ASK, "workspace": "persona/p", "channel": channel}
        assert portal.client.post("/portal/turns", json=body).status_code == 200
        assert system_of(ollama)["content"] == system


def test_a_persona_keeps_its_voice_on_another_workspaces_models(
    start_portal: StartPortal, ollama: Fake, tmp_path: Path
) -> None:
    (tmp_path / "p.yaml").write_text(PIRATE + "temperature: 0.7\n", encoding="utf-8")
    portal = start_portal(
        backends=[ollama.backend("ollama")],
        personas_dir=str(tmp_path),
        workspaces={"one": {"model": "llava:7b", "system": "Not this.", "temperature": 0.1}},
    )
    messages = [{"role": "user", "content": "@model:one hello"}]
    body = {"model": "persona/p", "messages": messages}
    answer = portal.client.post("/v1/chat/completions", json=body)
    assert answer.headers["x-portal-route"] == "one;ollama;llava:7b;@model, configured"
    sent = ollama.requests("/api/chat")[-1].json
    assert [each["content"] for each in sent["messages"]] == ["Arr.", "hello"]
    assert sent["options"]["temperature"] == 0.7
