"""The installed package, seen from an empty folder: nothing of a checkout is needed to use it."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

IMPORT_ALL = """
import importlib, pkgutil
import portal.functions, portal.runtime, portal.shared

count = 0
for package in (portal.functions, portal.runtime, portal.shared):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
            count += 1
print(count)
"""

READ_DATA = """
import pathlib
import portal.mcp.core, portal.runtime.ui

page = pathlib.Path(portal.runtime.ui.__file__).parent
print((page / "index.html").is_file(), (page / "style.css").is_file())
print(any(pathlib.Path(folder, "librechat_mcp_fragment.yaml").is_file()
          for folder in portal.mcp.core.__path__))
"""


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *words],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )


def test_every_module_imports_from_an_empty_folder(tmp_path: Path) -> None:
    run = _run(tmp_path, "-c", IMPORT_ALL)

    assert (run.returncode, run.stderr) == (0, "")
    assert int(run.stdout) > 60
    assert list(tmp_path.iterdir()) == []


def test_the_data_files_come_along(tmp_path: Path) -> None:
    run = _run(tmp_path, "-c", READ_DATA)

    assert (run.stdout.split(), run.stderr) == (["True"] * 3, "")


def test_the_command_is_installed_under_its_name() -> None:
    commands = {
        entry.name: entry.value
        for entry in metadata.distribution("portal-local").entry_points
        if entry.group == "console_scripts"
    }

    assert commands == {"portal": "portal.runtime.cli:main"}


def test_the_package_runs_as_a_module_too(tmp_path: Path) -> None:
    run = _run(tmp_path, "-m", "portal.runtime", "version")

    assert run.returncode == 0, run.stderr
    assert metadata.version("portal-local") in run.stdout
