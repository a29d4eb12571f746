"""Names of models: Ollama's short forms, hostile lengths, and rows of the metrics page."""

import re
from pathlib import Path

import pytest

from portal.runtime.admission.breakers import Breakers
from portal.runtime.admission.load import Load
from portal.runtime.ops import schema
from portal.runtime.ops.metrics import LONGEST_LABEL, GatewayMetrics
from portal.runtime.routing.pace import Pace
from portal.runtime.routing.registry import GUESSES_KEPT, LONGEST_NAME, Registry
from portal.runtime.routing.usage import UsageRing
from portal.shared.errors import UnknownModel
from portal.shared.models import BackendStatus, Model, UsageRecord

SETTINGS = schema.Settings(data_dir=Path("data"), state_dir=Path("state"))


class Listing:
    """A backend as far as the registry looks at one."""

    kind = "ollama"
    available = True

    def __init__(self, *models: str, name: str = "ollama") -> None:
        self.name = name
        self._models = [
            Model(name, each, "ollama", context_window=32768, size_bytes=1 << 30) for each in models
        ]

    def models(self) -> list[Model]:
        return self._models

    def status(self) -> BackendStatus:
        return BackendStatus(self.name, "ollama", "", "live", True, len(self._models))


def registry(*backends: Listing) -> Registry:
    return Registry(backends, SETTINGS, memory=64 << 30)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["llama3", "llama3:latest", "ollama/llama3"])
def test_ollamas_latest_is_one_model_under_all_its_names(name: str) -> None:
    found = registry(Listing("llama3:latest", "other:1b"))
    target = found.resolve(name)
    assert (target.backend, target.model) == ("ollama", "llama3:latest")
    # The same window under each, or Ollama would load it anew.
    assert found.num_ctx(target.backend, target.model) == 32768


def test_a_model_that_is_listed_goes_before_the_short_form_of_another() -> None:
    found = registry(Listing("llama3:latest", "llama3"))
    assert found.resolve("ollama/llama3").model == "llama3"


@pytest.mark.parametrize("prefix", ["", "ollama/"])
def test_a_name_longer_than_any_path_is_refused_without_being_repeated(prefix: str) -> None:
    with pytest.raises(UnknownModel, match=f"more than {LONGEST_NAME}") as caught:
        registry(Listing("a:1b")).resolve(prefix + "x" * 1_000_000)
    assert len(caught.value.message) < 300


def test_guesses_at_unknown_names_are_remembered_within_bounds() -> None:
    found = registry(Listing("qwen2.5:7b"))
    for number in range(2 * GUESSES_KEPT):
        with pytest.raises(UnknownModel, match=r"Did you mean 'qwen2\.5:7b'"):
            found.resolve(f"qwen2.5:7b{number}")
    assert len(found._guesses) <= GUESSES_KEPT


def test_windows_of_models_that_vanished_are_forgotten() -> None:
    backend = Listing("a:1b")
    found = registry(backend)
    backend._models = []
    found.rebuild()
    assert found.num_ctx("ollama", "a:1b") is None


def test_long_names_stay_apart_on_the_metrics_page() -> None:
    usage, backend = UsageRing(), Listing()
    for end in "ab":
        usage.record(UsageRecord(0.0, "u", "k", "ollama", "m" * 500 + end, 1, 1, False))
    usage.record(UsageRecord(0.0, "u", "k", "ollama", 'quo"te\nline\\', 1, 1, False))
    metrics = GatewayMetrics(
        [backend],  # type: ignore[list-item]
        Breakers(SETTINGS.breaker),
        Load(SETTINGS.load, {}),
        usage,
        Pace(),
    )
    lines = metrics.exposition().decode().splitlines()
    rows = [line for line in lines if line.startswith("portal_answers_total{")]
    assert len(rows) == len({row.partition("}")[0] for row in rows}) == 3
    names = [re.findall(r'model="(m+.*?)"', row) for row in rows]
    assert all(len(name) <= LONGEST_LABEL for found in names for name in found)
