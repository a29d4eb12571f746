"""The fakes do as they are told, and tell what was done to them."""

import json
import socket
from collections.abc import Callable

import httpx
import pytest

from tests.fakes.asking import (
    CHAT,
    VLLM_MODEL,
    ask,
    ask_ollama,
    connect,
    events,
    get,
    lines,
    post,
    read_all,
    read_until,
)
from tests.fakes.openai_wording import VENDOR
from tests.harness import Fake

StartFake = Callable[..., Fake]


def test_chunked_request_bodies_and_keep_alive_work(openai_server: Fake) -> None:
    data = json.dumps(ask("sent in pieces")).encode()
    with httpx.Client(base_url=openai_server.url, trust_env=False) as client:
        for _ in range(2):
            answer = client.post(CHAT, content=iter([data[:20], data[20:]]))
            assert "sent in pieces" in answer.text
    one, two = openai_server.requests(CHAT)
    assert one.raw == data
    assert one.connection == two.connection
    assert one.header("Transfer-Encoding") == "chunked"


def test_requests_are_recorded_byte_for_byte(openai_server: Fake) -> None:
    odd = b'{"model": "x",\t"big": 1.0e400, "bad": "\xff\xfe\xed\xa0\x80"}'
    with httpx.Client(base_url=openai_server.url, trust_env=False) as client:
        client.post(CHAT + "?a=b", content=odd, headers=[("X-Twice", "1"), ("X-Twice", "2")])
    (record,) = openai_server.requests(CHAT)
    assert record.raw == odd
    assert record.query == {"a": "b"}
    assert [value for name, value in record.headers if name == "X-Twice"] == ["1", "2"]


def test_a_client_that_waits_for_100_continue_gets_it(openai_server: Fake) -> None:
    with socket.create_connection(("127.0.0.1", openai_server.port), timeout=10) as sock:
        data = json.dumps(ask()).encode()
        head = (
            f"POST {CHAT} HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        sock.sendall(head.encode())
        assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        sock.sendall(data)
        assert b"Echo" in read_until(sock, VENDOR)


def test_manual_tokens_come_out_exactly_as_stepped(openai_server: Fake) -> None:
    openai_server.script(tokens=["a", "b", "c"], manual=True)
    openai_server.step(2)
    with connect(openai_server, CHAT, ask(stream=True)) as sock:
        read_until(sock, b'"content": "b"')
        assert openai_server.requests(CHAT)[0].tokens_sent == 2
        openai_server.step(1)
        assert b'"content": "c"' in read_until(sock, b"[DONE]")
    assert openai_server.requests(CHAT)[0].state == "finished"


def test_a_client_that_leaves_is_seen_and_counted(ollama: Fake) -> None:
    ollama.script(tokens=["a", "b", "c"], manual=True)
    ollama.step(1)
    with connect(ollama, "/api/chat", ask_ollama()) as sock:
        read_until(sock, b'"content":"a"')
        assert ollama.requests()[0].state == "open"
    assert ollama.wait("closed") == 1
    (record,) = ollama.requests()
    assert (record.state, record.closed_after, record.tokens_sent) == ("client_closed", 1, 1)


def test_a_client_that_leaves_a_whole_answer_is_seen_too(openai_server: Fake) -> None:
    openai_server.script(hang=True)
    with connect(openai_server, CHAT, ask()):
        openai_server.wait("request", path=CHAT)
    openai_server.wait("closed")
    assert openai_server.requests(CHAT)[0].closed_after == 0


def test_steps_go_to_the_streams_that_are_still_there(openai_server: Fake) -> None:
    openai_server.script(tokens=["a", "b"], manual=True)
    with connect(openai_server, CHAT, ask(stream=True)):
        openai_server.wait("request", 1, path=CHAT)
    openai_server.wait("closed")
    with connect(openai_server, CHAT, ask(stream=True)) as sock:
        openai_server.step(2)
        read_until(sock, b"[DONE]")


def test_a_stalled_stream_sends_no_more(openai_server: Fake) -> None:
    openai_server.script(tokens=["a", "b"], stall_after=1)
    with connect(openai_server, CHAT, ask(stream=True)) as sock:
        got = read_until(sock, b'"content": "a"')
        assert b'"content": "b"' not in got
        (record,) = openai_server.requests(CHAT)
        assert (record.state, record.tokens_sent) == ("open", 1)
    openai_server.wait("closed")


def test_a_held_head_comes_with_the_first_token(ollama: Fake) -> None:
    ollama.script(tokens=["a"], manual=True, hold_head=True)
    with connect(ollama, "/api/chat", ask_ollama()) as sock:
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.settimeout(10)
        ollama.step()
        assert read_until(sock, b'"done":true').startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("stream", [True, False])
def test_a_cut_after_a_token_is_a_broken_answer(openai_server: Fake, stream: bool) -> None:
    openai_server.script(tokens=["a", "b"], cut_after=1)
    with pytest.raises(httpx.RemoteProtocolError):
        post(openai_server, CHAT, ask(stream=stream))
    assert openai_server.wait("cut") == 1


def test_a_cut_may_be_a_reset(openai_server: Fake) -> None:
    openai_server.script(tokens=["a"], cut_after=1, reset=True, times=1)
    with connect(openai_server, CHAT, ask(stream=True)) as sock, pytest.raises(ConnectionError):
        read_all(sock)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("at", [0, 1, 100])
def test_a_cut_after_a_byte_is_exact(openai_server: Fake, stream: bool, at: int) -> None:
    openai_server.script(cut_after_bytes=at)
    with connect(openai_server, CHAT, ask(stream=stream)) as sock:
        head, _, body = read_all(sock).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    record = openai_server.requests(CHAT)[0]
    assert (len(record.answer), record.state) == (at, "cut")
    assert body.endswith(record.answer)


def test_garbage_comes_within_an_otherwise_good_stream(ollama: Fake) -> None:
    ollama.script(tokens=["a", "b"], garbage_after=1)
    first, garbage, *rest = post(ollama, "/api/chat", ask_ollama()).content.splitlines()
    assert json.loads(first)["message"]["content"] == "a"
    with pytest.raises(ValueError, match=r"."):
        json.loads(garbage)
    assert json.loads(rest[-1])["done"] is True


def test_errors_in_mid_stream_have_the_form_of_their_api(ollama: Fake, openai_server: Fake) -> None:
    for fake in (ollama, openai_server):
        fake.script(tokens=["a", "b"], error_after=1, error="out of memory")
    *_, last = lines(post(ollama, "/api/chat", ask_ollama()))
    assert last == {"error": "out of memory"}
    last = events(post(openai_server, CHAT, ask(stream=True)))[-1]
    assert last["error"]["message"] == "out of memory"
    assert post(openai_server, CHAT, ask()).status_code == 500


def test_an_empty_completion_is_well_formed_and_empty(ollama: Fake, openai_server: Fake) -> None:
    for fake in (ollama, openai_server):
        fake.script(tokens=[])
    (only,) = lines(post(ollama, "/api/chat", ask_ollama()))
    assert (only["done"], only["message"]["content"], only["eval_count"]) == (True, "", 0)
    (choice,) = post(openai_server, CHAT, ask()).json()["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "stop")


def test_a_status_with_body_and_headers_replaces_the_answer(openai_server: Fake) -> None:
    openai_server.script(status=429, body={"error": "busy"}, headers={"Retry-After": "3"}, times=2)
    answer = post(openai_server, CHAT, ask())
    assert (answer.status_code, answer.json()) == (429, {"error": "busy"})
    assert answer.headers["retry-after"] == "3"
    assert post(openai_server, CHAT, ask()).status_code == 429
    assert post(openai_server, CHAT, ask()).status_code == 200


def test_raw_bytes_and_a_wrong_content_type_are_sent_as_told(openai_server: Fake) -> None:
    openai_server.script(raw=b"SSH-2.0-\x00\xff\r\n", times=1)
    with connect(openai_server, CHAT, ask()) as sock:
        assert read_all(sock) == b"SSH-2.0-\x00\xff\r\n"
    openai_server.script(content_type="text/html")
    assert post(openai_server, CHAT, ask()).headers["content-type"] == "text/html"


def test_a_dropped_connection_is_closed_after_a_whole_answer(openai_server: Fake) -> None:
    openai_server.script(drop=True)
    with connect(openai_server, CHAT, ask()) as sock:
        answer = read_all(sock)
    assert b"Echo" in answer
    assert b"Connection: close" not in answer


def test_scripts_are_chosen_by_path_model_and_order(ollama: Fake) -> None:
    ollama.script({"path": "/api/tags", "status": 503}, {"model": "llava:7b", "text": "I see"})
    ollama.script(text="first", times=1)
    assert get(ollama, "/api/tags").status_code == 503
    said = [
        post(ollama, "/api/chat", ask_ollama(model=model, stream=False)).json()["message"]
        for model in ("qwen2.5:7b", "llava:7b", "qwen2.5:7b")
    ]
    assert [message["content"] for message in said] == ["first", "I see", "Echo: one two"]


def test_a_delayed_list_of_models_comes_late_but_whole(ollama: Fake) -> None:
    ollama.script(path="/api/tags", head_delay_ms=20)
    assert len(get(ollama, "/api/tags").json()["models"]) == 4
    ollama.script(path="/api/tags", head_delay_ms=60_000)
    with pytest.raises(httpx.ReadTimeout):
        get(ollama, "/api/tags", timeout=httpx.Timeout(10, read=0.05))
    assert ollama.wait("closed", path="/api/tags") == 1


def test_paced_tokens_all_come(ollama: Fake) -> None:
    ollama.script(interval_ms=2)
    assert len(lines(post(ollama, "/api/chat", ask_ollama()))) == 4


def test_models_may_change_while_it_runs(ollama: Fake, openai_server: Fake) -> None:
    ollama.models("phi4", {"name": "big:70b", "context_length": 9, "capabilities": ["completion"]})
    names = [row["name"] for row in get(ollama, "/api/tags").json()["models"]]
    assert names == ["phi4:latest", "big:70b"]
    openai_server.models("a", "b")
    assert [row["id"] for row in get(openai_server, "/v1/models").json()["data"]] == ["a", "b"]
    openai_server.reset()
    assert get(openai_server, "/v1/models").json()["data"][0]["id"] == VLLM_MODEL


def test_instant_answers_are_whole_and_leave_no_record(openai_server: Fake) -> None:
    openai_server.script(instant=True, text="at once")
    assert "at once" in post(openai_server, CHAT, ask()).json()["choices"][0]["message"]["content"]
    assert len(events(post(openai_server, CHAT, ask(stream=True)))) == 4
    assert openai_server.requests() == []


def test_a_wrong_script_is_refused_by_name(openai_server: Fake) -> None:
    with pytest.raises(AssertionError, match="stal_after"):
        openai_server.script(stal_after=1)


def test_waiting_for_what_does_not_happen_is_bounded_and_says_so(openai_server: Fake) -> None:
    with pytest.raises(AssertionError, match="closed was seen 0 of 1 times"):
        openai_server.wait("closed", timeout=0.1)


def test_a_reset_takes_back_steps_that_nobody_used(openai_server: Fake) -> None:
    openai_server.step(5)
    openai_server.reset()
    openai_server.script(tokens=["a"], manual=True)
    with connect(openai_server, CHAT, ask(stream=True)) as sock:
        read_until(sock, b'"role": "assistant"')
        assert openai_server.requests(CHAT)[0].tokens_sent == 0
        openai_server.step()
        read_until(sock, b"[DONE]")


def test_a_reset_ends_what_is_open_and_forgets_it(openai_server: Fake) -> None:
    openai_server.script(hang=True)
    with connect(openai_server, CHAT, ask()) as sock:
        openai_server.wait("request", path=CHAT)
        openai_server.reset()
        with pytest.raises(ConnectionError):
            sock.recv(1)
    assert openai_server.requests() == []
    assert post(openai_server, CHAT, ask()).status_code == 200


def test_a_fake_dies_and_comes_back_on_its_port(start_fake: StartFake) -> None:
    fake = start_fake("ollama", "--script", json.dumps([{"text": "scripted"}]))
    port = fake.port
    fake.die()
    assert not fake.alive
    with pytest.raises(httpx.ConnectError):
        get(fake, "/")
    fake.restart()
    assert fake.port == port
    assert "scripted" in post(fake, "/api/chat", ask_ollama()).text
