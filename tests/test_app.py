"""The application as a library call: what `create_app` gives back, and that nothing runs yet."""

import threading
from pathlib import Path

from litestar import Litestar
from litestar.testing import TestClient

from portal.runtime.app import create_app
from portal.runtime.ops.schema import Embedded, Server, Settings
from portal.runtime.ops.version import version


def _settings(folder: Path) -> Settings:
    return Settings(
        data_dir=folder / "data",
        state_dir=folder / "state",
        server=Server(probe=False),
        embedded=Embedded(enabled=False),
    )


def test_create_app_returns_a_litestar_application(tmp_path: Path) -> None:
    application = create_app(_settings(tmp_path))

    assert isinstance(application, Litestar)


def test_creating_the_application_starts_nothing_and_writes_nothing(tmp_path: Path) -> None:
    threads = threading.active_count()

    create_app(_settings(tmp_path))

    assert threading.active_count() == threads
    assert list(tmp_path.iterdir()) == []


def test_the_application_answers_over_http(tmp_path: Path) -> None:
    with TestClient(create_app(_settings(tmp_path)), base_url="http://127.0.0.1") as client:
        answer = client.get("/health")

    assert answer.status_code == 200
    assert answer.json()["version"] == version()
    assert answer.headers["x-request-id"]


def test_two_applications_of_one_process_share_nothing(tmp_path: Path) -> None:
    first, second = create_app(_settings(tmp_path)), create_app(_settings(tmp_path))

    assert first.host is not second.host
    assert first.host.generation is not second.host.generation
