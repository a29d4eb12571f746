"""The package as it ships: every module and data file in the wheel, nothing else, one version."""

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from portal.runtime.catalogue import discover
from portal.runtime.ops.openapi import build_document
from portal.runtime.ops.version import version
from tests.checkout import AREAS, ROOT, project, shipped_files, shown
from tests.harness import run_cli

BUILD = """
import sys
from setuptools import build_meta
folder = sys.argv[1]
build_meta.build_wheel(folder)
build_meta.build_sdist(folder)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build wheel and source archive from a clean copy; gives the folder they lie in."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in AREAS:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, copy)
    folder = tmp_path_factory.mktemp("dist")
    run = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)],
        cwd=copy,
        capture_output=True,
        encoding="utf-8",
        timeout=180,
    )
    assert run.returncode == 0, run.stderr
    return folder


def _in_wheel(built: Path) -> set[str]:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        return {name for name in wheel.namelist() if not name.endswith("/")}


def _folders_on_disk() -> set[str]:
    return {f"portal.{shown(path.parent).replace('/', '.')}" for path in shipped_files()}


def test_the_package_list_equals_the_folders_on_disk() -> None:
    listed = project()["tool"]["setuptools"]["packages"]
    # A folder without files of its own is a package too when something lies below it.
    on_disk = _folders_on_disk()
    on_disk |= {name.rpartition(".")[0] for name in on_disk} - {"portal"}

    assert listed == sorted(on_disk)


def test_every_folder_of_code_is_a_package_except_below_mcp() -> None:
    folders = {path.parent for path in shipped_files() if path.suffix == ".py"}
    without = {shown(folder) for folder in folders if not (folder / "__init__.py").is_file()}

    assert {name for name in without if name.partition("/")[0] != "mcp"} == set()


def test_the_mcp_folders_are_no_packages() -> None:
    """With an `__init__.py`, `import mcp` from the root would find ours, not the official SDK."""
    assert [shown(path) for path in (ROOT / "mcp").rglob("__init__.py")] == []


def test_importing_mcp_from_the_root_finds_the_official_sdk(tmp_path: Path) -> None:
    sdk = tmp_path / "mcp"
    sdk.mkdir()
    (sdk / "__init__.py").write_text("ClientSession = 'the real one'\n", encoding="utf-8")

    run = subprocess.run(
        [sys.executable, "-c", "from mcp import ClientSession; print(ClientSession)"],
        cwd=ROOT,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )

    assert (run.stdout, run.stderr) == ("the real one\n", "")


def test_the_wheel_holds_every_shipped_file_and_nothing_else(built: Path) -> None:
    shipped = {f"portal/{shown(path)}" for path in shipped_files()}
    found = {name for name in _in_wheel(built) if ".dist-info/" not in name}

    assert found - shipped == set(), "in the wheel, not on the disk"
    assert shipped - found == set(), "on the disk, not in the wheel: see package-data"


def test_the_wheel_carries_licence_and_command(built: Path) -> None:
    names = {name.partition(".dist-info/")[2] for name in _in_wheel(built)}

    assert {"licenses/LICENSE", "entry_points.txt", "METADATA"} <= names


def test_the_source_archive_holds_what_the_wheel_is_built_from(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}

    assert {shown(path) for path in shipped_files()} - found == set()


def _requirements() -> list[str]:
    """Lines of pyproject.toml that name a dependency, comment included."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    dependencies = text.partition("dependencies = [")[2].partition("[project.scripts]")[0]
    groups = text.partition("[dependency-groups]")[2].partition("[tool.setuptools]")[0]
    return re.findall(r'^\s+"[a-z][^"]*".*$', dependencies + groups, flags=re.MULTILINE)


def test_every_dependency_is_bounded_and_says_why_it_is_there() -> None:
    declared = project()
    named = [
        *declared["project"]["dependencies"],
        *(
            item
            for extra in declared["project"]["optional-dependencies"].values()
            for item in extra
        ),
        *(item for group in declared["dependency-groups"].values() for item in group),
    ]
    lines = _requirements()

    assert len(lines) == sum(isinstance(item, str) for item in named)
    assert [line for line in lines if not re.search(r">=[\d.]+,<[\d.]+[;\"]", line)] == []
    assert [line for line in lines if not re.search(r"#\s\S.{4,}", line)] == []


def test_the_packages_of_the_card_are_core_dependencies() -> None:
    core = {re.split(r"[<>=;\[]", item)[0] for item in project()["project"]["dependencies"]}

    assert {
        *("litestar", "msgspec", "httpx", "aiosqlite", "dynaconf"),
        *("python-telegram-bot", "slack-bolt"),
    } <= core


def test_every_place_that_shows_a_version_shows_the_same() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    architecture = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    release = re.search(r"^## \[(\d[^\]]*)\]", changelog, flags=re.MULTILINE)
    header = re.match(r"# .*\b(\d+\.\d+\.\d+)\n", architecture)
    command = run_cli("version")
    assert release is not None
    assert header is not None

    assert {
        "pyproject.toml": project()["project"]["version"],
        "installed": metadata.version("portal-local"),
        "CHANGELOG.md": release[1],
        "docs/ARCHITECTURE.md": header[1],
        "portal version": command.stdout.split()[-1] if command.stdout else command.stderr,
        "OpenAPI": build_document(discover())["info"]["version"],
    } == dict.fromkeys(
        (
            *("pyproject.toml", "installed", "CHANGELOG.md"),
            *("docs/ARCHITECTURE.md", "portal version", "OpenAPI"),
        ),
        version(),
    )


def test_no_source_states_a_version_of_its_own() -> None:
    stated = project()["project"]["version"]
    copies = [
        shown(path)
        for path in shipped_files()
        if path.suffix in (".py", ".html", ".js", ".yaml")
        if re.search(rf'(?i)version"?\s*[:=]\s*"?{re.escape(stated)}\b', path.read_text("utf-8"))
    ]

    assert copies == []
