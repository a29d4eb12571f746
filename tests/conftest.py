"""What every test may ask for: fake backends, and Portal run for real."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Fake, PortalProcess, end_and_inspect

StartFake = Callable[..., Fake]
StartPortal = Callable[..., PortalProcess]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave files of integration tests alone in a default run: their clients are not installed."""
    deselected = config.getoption("markexpr") == "not integration"
    return True if deselected and collection_path.name.endswith("_integration.py") else None


@pytest.fixture(scope="session")
def ollama_program() -> Iterator[Fake]:
    """The process behind `ollama`."""
    with Fake("ollama") as fake:
        yield fake


@pytest.fixture(scope="session")
def openai_program() -> Iterator[Fake]:
    """The process behind `openai_server`."""
    with Fake("openai_compatible", "--flavour", "vllm") as fake:
        yield fake


@pytest.fixture
def ollama(ollama_program: Fake) -> Fake:
    """A fake Ollama with its four models, freshly reset."""
    ollama_program.ensure()
    return ollama_program


@pytest.fixture
def openai_server(openai_program: Fake) -> Fake:
    """A fake vLLM with one model, freshly reset."""
    openai_program.ensure()
    return openai_program


@pytest.fixture
def start_fake() -> Iterator[StartFake]:
    """Start further fakes: `start_fake("openai_compatible", "--flavour", "llamacpp")`."""
    started: list[Fake] = []

    def start(module: str, *options: str, **more: Any) -> Fake:
        fake = Fake(module, *options, **more)
        started.append(fake)
        return fake

    yield start
    for fake in started:
        fake.stop()


@pytest.fixture
def start_chaos(start_fake: StartFake) -> Callable[[Fake], Fake]:
    """Put a chaos proxy before a fake; it is directed like one, its `url` leads through it."""

    def start(behind: Fake) -> Fake:
        upstream = f"127.0.0.1:{behind.port}"
        return start_fake("chaos_proxy", "--upstream", upstream, separate_control=True)

    return start


@pytest.fixture
def start_portal() -> Iterator[StartPortal]:
    """Start Portals and stop them afterwards; fails the test if one logged a traceback.

    Takes what `PortalProcess` takes, and `traceback_allowed=True` where one is expected.
    """
    started: list[tuple[PortalProcess, bool]] = []

    def start(*, traceback_allowed: bool = False, **settings: Any) -> PortalProcess:
        portal = PortalProcess(**settings)
        started.append((portal, traceback_allowed))
        return portal

    yield start
    faults = [
        fault
        for portal, allowed in started
        for fault in end_and_inspect(portal, traceback_allowed=allowed)
    ]
    if faults:
        pytest.fail("\n".join(faults))
