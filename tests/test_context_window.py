"""Truthful context through `portal up`: what is trimmed, refused, fixed, and noticed."""

import json
from typing import Any

from tests.conftest import StartFake, StartPortal
from tests.harness import Fake, PortalProcess

WINDOW = 2048
QUESTION = "And what did I say first?"
TURNS = [
    message
    for number in range(40)
    for message in (
        {"role": "user", "content": f"Note {number}: " + "the cat sat on the mat again. " * 12},
        {"role": "assistant", "content": f"Noted {number}."},
    )
]
SYSTEM = {"role": "system", "content": "You keep notes."}
LONG = [SYSTEM, *TURNS, {"role": "user", "content": QUESTION}]


def start(start_portal: StartPortal, ollama: Fake, **settings: Any) -> PortalProcess:
    """Start with every model of the fake served with a small window."""
    return start_portal(
        backends=[ollama.backend("ollama")],
        models=[{"name": "ollama/*", "context_window": WINDOW}],
        workspaces={"one": {"model": "qwen2.5:7b", **settings}},
    )


def ask(portal: PortalProcess, model: str, messages: list[Any], **fields: Any) -> Any:
    body = {"model": model, "messages": messages, **fields}
    return portal.client.post("/v1/chat/completions", json=body)


def told(text: str) -> dict[str, int]:
    """Read `x-portal-context`."""
    pairs = (part.split("=") for part in text.split("; "))
    return {name: int(value) for name, value in pairs}


def test_the_oldest_turns_are_left_out_and_that_is_told(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start(start_portal, ollama)
    answer = ask(portal, "one", LONG)
    sent = ollama.requests("/api/chat")[0].json["messages"]
    assert answer.status_code == 200
    assert sent[0] == SYSTEM
    assert sent[-1]["content"] == QUESTION
    assert sent[1:] == LONG[-(len(sent) - 1) :]
    assert sent[1]["role"] == "user"
    facts = told(answer.headers["x-portal-context"])
    assert facts["window"] == WINDOW
    assert facts["left_out"] == len(LONG) - len(sent)
    assert facts["kept"] == len(sent)
    assert facts["prompt"] > WINDOW


def test_a_turn_says_in_its_events_what_was_left_out(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start(start_portal, ollama)
    answer = portal.client.post("/portal/turns", json={"messages": LONG, "workspace": "one"})
    events = [
        json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")
    ]
    (notice,) = [each for each in events if each.get("code") == "context"]
    left_out = len(LONG) - len(ollama.requests("/api/chat")[0].json["messages"])
    assert notice["text"] == (
        f"The conversation is longer than the model's window of {WINDOW} tokens: its oldest "
        f"{left_out} messages were left out."
    )


def test_a_short_conversation_is_sent_whole_without_a_word_about_it(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start(start_portal, ollama)
    answer = ask(portal, "one", LONG[-4:])
    assert ollama.requests("/api/chat")[0].json["messages"] == LONG[-4:]
    assert "x-portal-context" not in answer.headers


def test_a_workspace_that_never_trims_refuses_with_the_numbers(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start(start_portal, ollama, trim="never")
    # No other model may take over with a larger window.
    answer = ask(portal, "one", LONG)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "context_length_exceeded")
    assert str(WINDOW) in error["message"]
    assert ollama.requests("/api/chat") == []


def test_a_last_message_that_cannot_fit_is_refused(start_portal: StartPortal, ollama: Fake) -> None:
    portal = start(start_portal, ollama)
    answer = ask(portal, "one", [{"role": "user", "content": "word " * 9000}])
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded")


def test_a_raw_model_is_refused_only_by_proof_and_never_trimmed(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start(start_portal, ollama)
    refused = ask(portal, "ollama/qwen2.5:7b", [{"role": "user", "content": "word " * 9000}])
    assert (refused.status_code, refused.json()["error"]["code"]) == (
        400,
        "context_length_exceeded",
    )
    doubtful = [*LONG[-12:]]
    assert ask(portal, "ollama/qwen2.5:7b", doubtful).status_code == 200
    assert ollama.requests("/api/chat")[-1].json["messages"] == doubtful


def test_num_ctx_is_the_same_for_a_model_whatever_asks_for_it(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start(start_portal, ollama)
    ask(portal, "one", LONG[-2:])
    ask(portal, "one", LONG)
    ask(portal, "ollama/qwen2.5:7b", LONG[-2:])
    sizes = [record.json["options"]["num_ctx"] for record in ollama.requests("/api/chat")]
    assert sizes == [WINDOW] * 3
    assert ollama.state()["loads"] == {"qwen2.5:7b": 1}


def test_a_prompt_that_the_backend_cut_all_the_same_is_told(
    start_portal: StartPortal, ollama: Fake
) -> None:
    ollama.script(count_input=True, old=True)
    portal = start_portal(
        backends=[ollama.backend("ollama")],
        models=[{"name": "ollama/*", "context_window": 512}],
    )
    # Too few words to be refused by proof, and more tokens than the window by any estimate.
    digits = " ".join(f"{number:04}" for number in range(500))
    answer = ask(portal, "ollama/qwen2.5:7b", [{"role": "user", "content": digits}])
    assert "x-portal-context" not in answer.headers
    ollama.script(input_tokens=512)
    answer = ask(portal, "ollama/qwen2.5:7b", [{"role": "user", "content": digits}])
    assert told(answer.headers["x-portal-context"])["read"] == 512


def test_a_prompt_that_the_backend_finds_too_long_is_trimmed_harder_and_sent_again(
    start_portal: StartPortal, ollama: Fake
) -> None:
    ollama.script(
        path="/api/chat",
        times=1,
        status=400,
        body={"error": "the request exceeds the available context size"},
    )
    portal = start(start_portal, ollama)
    answer = ask(portal, "one", LONG)
    first, second = (record.json["messages"] for record in ollama.requests("/api/chat"))
    assert answer.status_code == 200
    assert len(second) < len(first)
    assert second[0] == SYSTEM
    assert second[-1]["content"] == QUESTION


def test_the_backends_tokenizer_is_asked_only_near_the_limit(
    start_portal: StartPortal, start_fake: StartFake
) -> None:
    server = start_fake("openai_compatible", "--flavour", "llamacpp")
    portal = start_portal(
        backends=[server.backend("llama")],
        models=[{"name": "llama/*", "context_window": WINDOW}],
        workspaces={"one": {"fallback": []}},
    )
    ask(portal, "one", LONG[-4:])
    ask(portal, "one", LONG)
    assert server.requests("/tokenize") == []
    ask(portal, "one", LONG[-24:])
    assert len(server.requests("/tokenize")) == 1
