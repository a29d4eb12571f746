"""LiteLLM on the same machine in the same run, loaded in turn with Portal; if it is installed."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec

from tests.bench.asking import chat_body, request
from tests.bench.figures import Effort, Figure, Row
from tests.bench.gateway import CONCURRENCY, Samples, latency, take, worded
from tests.bench.machine import memory_of, with_children
from tests.bench.subjects import (
    CHAT,
    KEY,
    MODEL,
    REPLY,
    Subject,
    await_models,
    chat_request,
    openai_fake,
    portal,
)
from tests.fakes.fake import Fake
from tests.fakes.running import HOST, Program, await_answer, clean_environment, free_port

NAME = "peer"
TITLE = "The same chat through Portal and LiteLLM, in turn"
START_SECONDS = 120.0
ROUNDS = 3
KEY_OF_PEER = f"sk-{KEY}"
LIGHTER = 10
"""LiteLLM gets this many times fewer requests: each costs it so much more."""


def measure(effort: Effort, python: Path | None) -> Row:
    """Load both; a row without figures when LiteLLM is not there."""
    program = find(python)
    if program is None:
        return Row(NAME, TITLE, note="LiteLLM is not installed.")
    figures: list[Figure] = []
    with openai_fake() as fake, portal(fake) as server:
        fake.script(text=REPLY, instant=True)
        await_models(server, f"openai/{MODEL}")
        with litellm(program, fake) as (peer, ready):
            ours = Subject(
                "Portal",
                server.port,
                chat_request(server, chat_body(f"openai/{MODEL}")),
                (server.pid,),
            )
            for connections in CONCURRENCY:
                pairs = {ours.name: Samples([], [], []), peer.name: Samples([], [], [])}
                for _ in range(min(ROUNDS, effort.rounds)):
                    take(pairs[ours.name], ours, connections, effort.requests, effort.warm_up)
                    take(
                        pairs[peer.name],
                        peer,
                        connections,
                        effort.requests // LIGHTER,
                        effort.warm_up // LIGHTER,
                    )
                for subject in (ours, peer):
                    figures += [
                        msgspec.structs.replace(figure, name=f"{subject.name}: {figure.name}")
                        for figure in worded(pairs[subject.name], connections, None)[:2]
                    ]
            lighter = msgspec.structs.replace(
                effort, pairs=effort.pairs // LIGHTER, warm_up=effort.warm_up // LIGHTER
            )
            figures += latency(fake, [ours, peer], lighter, None)
            figures.append(Figure(f"{peer.name}: until ready", ready, "ms"))
            memory = sum(memory_of(pid).rss for pid in peer.pids)
            figures.append(Figure(f"{peer.name}: RSS after these requests", memory, "MiB"))
            figures.append(
                Figure("Portal: RSS after these requests", memory_of(server.pid).rss, "MiB")
            )
    return Row(NAME, TITLE, tuple(figures), f"{version_of(program)}, one worker, a master key.")


def find(python: Path | None) -> Path | None:
    """Find the command `litellm`, beside a given Python or on the PATH."""
    if python is not None:
        beside = python.parent / "litellm"
        return beside if beside.exists() else None
    found = shutil.which("litellm")
    return None if found is None else Path(found)


def version_of(program: Path) -> str:
    """Read LiteLLM's version from what is installed around its command."""
    for folder in program.parent.parent.glob("lib/python*/site-packages/litellm-*.dist-info"):
        return f"LiteLLM {folder.name.removeprefix('litellm-').removesuffix('.dist-info')}"
    return "LiteLLM"


@contextmanager
def litellm(program: Path, fake: Fake) -> Iterator[tuple[Subject, float]]:
    """Run LiteLLM in front of a backend; the subject, and the ms until it was ready."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-peer-") as name:
        folder = Path(name)
        config = folder / "config.yaml"
        # JSON is YAML.
        config.write_bytes(msgspec.json.encode(configuration(fake)))
        process = Program(folder / "log")
        env = clean_environment(folder) | {
            # Without these two it asks the network at its start.
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_TELEMETRY": "False",
            "PATH": f"{program.parent}:/usr/bin:/bin",
        }
        words = ["--config", str(config), "--host", HOST, "--port", str(port)]
        started = time.perf_counter()
        try:
            process.launch([str(program), *words], cwd=folder, env=env)
            with httpx.Client(base_url=f"http://{HOST}:{port}", trust_env=False) as client:
                await_answer(
                    process,
                    client,
                    "/health/readiness",
                    lambda answer: answer.status_code == 200,
                    START_SECONDS,
                )
            ready = (time.perf_counter() - started) * 1000
            asked = request(port, CHAT, chat_body(MODEL), key=KEY_OF_PEER)
            yield Subject("LiteLLM", port, asked, tuple(with_children(process.pid))), ready
        finally:
            process.clear()


def configuration(fake: Fake) -> dict[str, object]:
    """Word LiteLLM's configuration: one model on the backend, a key, no logs."""
    parameters = {"model": f"openai/{MODEL}", "api_base": f"{fake.url}/v1", "api_key": "none"}
    return {
        "model_list": [{"model_name": MODEL, "litellm_params": parameters}],
        "general_settings": {"master_key": KEY_OF_PEER},
        "litellm_settings": {"telemetry": False, "set_verbose": False},
    }
