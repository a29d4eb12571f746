"""The embedded model for real: xllamacpp and its weights in a child. Protocol, never wording."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil
import pytest

from portal.runtime.backends.embedded_server import EmbeddedServer, Lease
from portal.runtime.ops.schema import Embedded
from portal.shared.errors import BackendUnreachable

pytestmark = pytest.mark.integration

PATIENCE = 120.0
HELLO = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
FOREIGN = {"origin": "http://page.example"}


def running(state_dir: Path, **settings: Any) -> EmbeddedServer:
    return EmbeddedServer(Embedded(**{"context_window": 1024} | settings), state_dir)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    server = running(tmp_path)
    assert server.problem == ""
    yield server
    pid = server.pid
    await server.aclose()
    assert pid is None or not psutil.pid_exists(pid)


@pytest.fixture
async def lease(server: EmbeddedServer) -> Lease:
    return await server.lease()


def client(lease: Lease, authorization: str | None = None) -> httpx.AsyncClient:
    if authorization is None:
        authorization = f"Bearer {lease.api_key}"
    headers = {"authorization": authorization} if authorization else {}
    return httpx.AsyncClient(base_url=lease.url, headers=headers, timeout=PATIENCE, trust_env=False)


def written_below(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_it_answers_a_chat_under_the_models_own_name(
    server: EmbeddedServer, lease: Lease
) -> None:
    async with client(lease) as http:
        reply = (await http.post("/v1/chat/completions", json=HELLO)).raise_for_status().json()
    assert reply["choices"][0]["message"]["role"] == "assistant"
    assert 0 < reply["usage"]["completion_tokens"] <= 8
    assert server.facts is not None
    assert reply["model"] == server.facts.name == "smollm2-135m-instruct"
    assert server.facts.context_window == 1024


async def test_it_streams_events_that_end_with_done(lease: Lease) -> None:
    async with (
        client(lease) as http,
        http.stream("POST", "/v1/chat/completions", json=HELLO | {"stream": True}) as reply,
    ):
        lines = [line async for line in reply.aiter_lines() if line.startswith("data: ")]
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert lines[-1] == "data: [DONE]"
    chunks = [msgspec.json.decode(line.removeprefix("data: ")) for line in lines[:-1]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert any(choice["delta"].get("content") for c in chunks for choice in c["choices"])


async def test_a_json_schema_is_enforced(lease: Lease) -> None:
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "green"]}, "sure": {"type": "boolean"}},
        "required": ["colour", "sure"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    question = {"role": "user", "content": "What colour is grass?"}
    async with client(lease) as http:
        body = {"messages": [question], "response_format": form, "max_tokens": 64}
        reply = (await http.post("/v1/chat/completions", json=body)).raise_for_status().json()
    answer = msgspec.json.decode(reply["choices"][0]["message"]["content"])
    assert set(answer) == {"colour", "sure"}
    assert answer["colour"] in {"red", "green"}
    assert isinstance(answer["sure"], bool)


@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "Basic d3Jvbmc6d3Jvbmc="])
async def test_without_its_key_it_refuses(lease: Lease, authorization: str) -> None:
    async with client(lease, authorization) as http:
        assert (await http.post("/v1/chat/completions", json=HELLO)).status_code == 401
        for path in ("/v1/models", "/props", "/slots", "/metrics", "/completion"):
            assert (await http.get(path)).status_code == 401, path


async def test_it_serves_no_page_and_shows_no_prompts(lease: Lease) -> None:
    async with client(lease) as http:
        for path in ("/", "/index.html"):
            reply = await http.get(path)
            assert (reply.status_code, reply.headers["content-type"][:16]) == (
                404,
                "application/json",
            )
        for path in ("/slots", "/metrics", "/tools"):
            assert (await http.get(path)).status_code >= 400, path


async def test_no_web_page_may_read_its_answers(lease: Lease) -> None:
    async with client(lease) as http:
        replies = [
            await http.options("/v1/chat/completions", headers=FOREIGN),
            await http.get("/health", headers=FOREIGN),
            await http.get("/v1/models", headers=FOREIGN),
            await http.post("/v1/chat/completions", json=HELLO, headers=FOREIGN),
        ]
    for reply in replies:
        granted = reply.headers.get("access-control-allow-origin", "")
        assert granted == "", reply.url
        assert reply.headers.get("access-control-allow-credentials") != "true", reply.url


async def test_it_listens_on_loopback_alone(server: EmbeddedServer, lease: Lease) -> None:
    sockets = psutil.Process(server.pid).net_connections("inet")
    listening = [it.laddr for it in sockets if it.status == psutil.CONN_LISTEN]
    assert [f"http://{ip}:{port}" for ip, port in listening] == [lease.url]


async def test_prompts_that_together_exceed_the_window_are_both_answered(lease: Lease) -> None:
    long = {"messages": [{"role": "user", "content": "apple " * 600}], "max_tokens": 4}
    async with client(lease) as http:
        posts = [http.post("/v1/chat/completions", json=long | {"seed": n}) for n in range(2)]
        assert [reply.status_code for reply in await asyncio.gather(*posts)] == [200] * 2


async def test_a_client_that_leaves_frees_the_model(tmp_path: Path) -> None:
    server = running(tmp_path, context_window=8192)
    lease = await server.lease()
    endless = HELLO | {"stream": True, "max_tokens": 8000, "ignore_eos": True}
    async with client(lease) as http:
        async with http.stream("POST", "/v1/chat/completions", json=endless) as reply:
            async for _ in reply.aiter_bytes():
                break
        # Far less than the abandoned answer would take, far more than this one does.
        reply = await http.post("/v1/chat/completions", json=HELLO, timeout=30.0)
    assert reply.status_code == 200
    await server.aclose()


async def test_the_key_is_neither_logged_nor_on_the_command_line(
    server: EmbeddedServer, lease: Lease, tmp_path: Path
) -> None:
    async with client(lease, "Bearer wrong") as http:
        await http.post("/v1/chat/completions", json=HELLO)
    assert not any(lease.api_key in part for part in psutil.Process(server.pid).cmdline())
    written = written_below(tmp_path)
    assert {path.name for path in written} >= {"embedded.log", "weights.json"}
    assert [path for path, text in written.items() if lease.api_key.encode() in text] == []


async def test_after_the_child_was_killed_the_next_lease_works(
    server: EmbeddedServer, lease: Lease
) -> None:
    killed = server.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE):
        while server.pid == killed:  # noqa: ASYNC110 - the event lies in another process
            await asyncio.sleep(0.005)
    again = await server.lease()
    assert server.pid != killed
    async with client(again) as http:
        assert (await http.post("/v1/chat/completions", json=HELLO)).status_code == 200


async def test_ctrl_c_leaves_the_end_to_the_parent(server: EmbeddedServer, lease: Lease) -> None:
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGINT)
    async with client(lease) as http:
        assert (await http.post("/v1/chat/completions", json=HELLO)).status_code == 200
    assert server.pid == pid


async def test_it_is_unloaded_when_idle(tmp_path: Path) -> None:
    server = running(tmp_path, idle_seconds=0.05)
    lease = await server.lease()
    pid = server.pid
    assert pid is not None
    lease.release()
    async with asyncio.timeout(PATIENCE):
        while psutil.pid_exists(pid):  # noqa: ASYNC110 - the event lies in another process
            await asyncio.sleep(0.005)
    assert server.state == "standby"
    await server.aclose()


async def test_a_broken_model_file_fails_with_the_librarys_reason(tmp_path: Path) -> None:
    model = tmp_path / "broken.gguf"
    model.write_bytes(b"GGUF" + bytes(100))
    server = running(tmp_path, model_path=model)
    with pytest.raises(BackendUnreachable, match="its log ends with"):
        await server.lease()
    assert server.state == "dead"
    await server.aclose()


PARENT = """
import asyncio, sys
from pathlib import Path
from portal.runtime.backends.embedded_server import EmbeddedServer
from portal.runtime.ops.schema import Embedded

async def main():
    server = EmbeddedServer(Embedded(context_window=1024), Path(sys.argv[1]))
    await server.lease()
    print(server.pid, flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


def test_the_child_ends_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        try:
            child = psutil.Process(int(parent.stdout.readline()))
        finally:
            parent.kill()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if not child.is_running() or child.status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.01)
    pytest.fail(f"the child {child.pid} outlived its parent")
