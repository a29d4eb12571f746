"""The architecture, held: who may import what, and the rules of the house beyond ruff's."""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkout import every_python_file, module_name, parse, shown, sources
from tests.import_rules import KEPT_IN, OWN, THIRD_PARTY

LONGEST_SOURCE = 350
LONGEST_TEST = 500
VAGUE_MODULES = {"utils", "util", "helpers", "helper", "common", "base", "misc"}
VAGUE_CLASSES = re.compile(r"(Manager|Service|Handler)$")
EFFECTS = re.compile(
    r"^(open|print|os\.(environ|getenv|getcwd|system)|environ|getenv|asyncio\.|socket\.|threading\."
    r"|subprocess\.|httpx\.(Async)?Client|logging\.basicConfig|Path\.(home|cwd)|time\.|signal\.)"
)
"""Names that act or read the surroundings when a module's own level uses them."""

BLOCKED_IMPORT = """
import importlib, sys

ALLOWED = {"msgspec", "portal"} | set(sys.stdlib_module_names)

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in ALLOWED and not name.startswith("__editable__"):
            raise ImportError(f"{name} is blocked")

def refuse(event, arguments):
    if event in {"socket.connect", "socket.bind", "subprocess.Popen", "os.mkdir", "os.remove"}:
        raise RuntimeError(f"{event} {arguments} while importing")
    if event == "open" and set(str(arguments[1])) & set("wax+"):
        raise RuntimeError(f"{arguments[0]} opened for writing while importing")

sys.meta_path.insert(0, Blocker())
sys.addaudithook(refuse)
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def _imports(path: Path) -> Iterator[tuple[ast.AST, str]]:
    """Name what a file imports, wherever in it: `import x`, `from x import y`, by a literal."""
    for node in ast.walk(parse(path)):
        match node:
            case ast.Import(names=names):
                yield from ((node, alias.name) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                yield node, "." * level + (module or "")
                if module and module.startswith("portal"):
                    yield from ((node, f"{module}.{alias.name}") for alias in names)
            case ast.Call(
                func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name)), *_]
            ):
                yield node, name


def _is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _in_a_function_body(path: Path, node: ast.AST) -> bool:
    bodies = (ast.FunctionDef, ast.AsyncFunctionDef)
    return any(
        node in ast.walk(outer) for outer in ast.walk(parse(path)) if isinstance(outer, bodies)
    )


def _faults(path: Path) -> Iterator[str]:
    area = shown(path).partition("/")[0]
    for node, name in _imports(path):
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names:
            continue
        if top == "portal":
            if name != "portal" and not any(_is_within(name, own) for own in OWN[area]):
                yield f"{shown(path)}: imports {name}; {area} may import {', '.join(OWN[area])}"
            continue
        place = KEPT_IN.get(top)
        if place is not None and not shown(path).startswith(place):
            yield f"{shown(path)}: imports {name}; only {place} may"
        allowed = THIRD_PARTY.get(area)
        if allowed is None or top in allowed:
            continue
        if shown(path).startswith("functions/tools/") and _in_a_function_body(path, node):
            continue  # a tool may load the library of its own extra when it runs
        yield f"{shown(path)}: imports {name}; {area} may import {', '.join(sorted(allowed))}"


def test_each_area_imports_only_what_the_architecture_allows() -> None:
    assert [fault for path in sources() for fault in _faults(path)] == []


@pytest.mark.parametrize("area", ["functions", "runtime", "shared"])
def test_the_import_rules_see_the_files_of_each_area(area: str) -> None:
    found = {name for path in sources(area) for _, name in _imports(path)}

    assert any(_is_within(name, "portal.shared") for name in found)


def test_nothing_is_imported_under_a_second_name() -> None:
    """From the root, `shared` would be another module than `portal.shared`, with other classes."""
    wrong = [
        f"{shown(path)}: {name}"
        for path in every_python_file()
        for _, name in _imports(path)
        if name.startswith(".") or name.partition(".")[0] in ("functions", "runtime", "shared")
    ]

    assert wrong == []


def test_every_function_imports_alone_and_without_effect() -> None:
    names = [module_name(path) for path in sources("functions", "shared")]

    run = subprocess.run(
        [sys.executable, "-B", "-c", BLOCKED_IMPORT, *names],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )

    assert (run.returncode, run.stderr) == (0, "")


def _used_at_module_level(tree: ast.Module) -> Iterator[ast.expr]:
    """Walk what runs when a module is imported: its own level, class bodies, defaults."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        match node:
            case ast.FunctionDef(args=arguments) | ast.AsyncFunctionDef(args=arguments):
                waiting += [*arguments.defaults, *filter(None, arguments.kw_defaults)]
                waiting += node.decorator_list
                continue
            case ast.Lambda():
                continue
            case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
                continue
            case ast.Call(func=called):
                yield called
            case ast.Subscript(value=ast.Attribute() as read):
                yield read
        waiting += ast.iter_child_nodes(node)


def test_importing_a_module_reads_no_environment_and_starts_nothing() -> None:
    acting = [
        f"{shown(path)}:{used.lineno}: {ast.unparse(used)}"
        for path in sources()
        for used in _used_at_module_level(parse(path))
        if EFFECTS.match(ast.unparse(used))
    ]

    assert acting == []


def test_no_source_is_too_long_to_be_read_at_once() -> None:
    too_long = []
    for path in every_python_file():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        limit = LONGEST_TEST if shown(path).startswith("tests/") else LONGEST_SOURCE
        if lines > limit:
            too_long.append(f"{shown(path)}: {lines} lines, at most {limit}")

    assert too_long == []


def test_no_module_or_class_has_a_name_that_says_nothing() -> None:
    vague = [shown(path) for path in every_python_file() if path.stem in VAGUE_MODULES]
    vague += [
        f"{shown(path)}: class {node.name}"
        for path in every_python_file()
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ClassDef) and VAGUE_CLASSES.search(node.name)
    ]

    assert vague == []


def _suppressions(path: Path) -> Iterator[tuple[int, str]]:
    text = path.read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and re.search(r"noqa|type:\s*ignore", token.string):
            yield token.start[0], token.string


def test_every_suppressed_warning_names_its_rule() -> None:
    named = re.compile(r"# (noqa: [A-Z]+\d+|type: ignore\[[a-z-]+)")
    bare = [
        f"{shown(path)}:{line}: {comment}"
        for path in every_python_file()
        for line, comment in _suppressions(path)
        if not named.search(comment)
    ]

    assert bare == []


def test_every_error_that_a_host_may_meet_lives_in_the_one_tree() -> None:
    elsewhere = [
        f"{shown(path)}: class {node.name}"
        for path in sources()
        # The command line's own never leave it.
        if shown(path) != "shared/errors.py" and not shown(path).startswith("runtime/cli/")
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ClassDef)
        for parent in node.bases
        if ast.unparse(parent).rpartition(".")[2] == "PortalError"
    ]

    assert elsewhere == []


def test_every_test_is_named_by_a_sentence_about_behaviour() -> None:
    names = [
        f"{shown(path)}: {node.name}"
        for path in every_python_file()
        if path.name.startswith("test_")
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and len(node.name.split("_")) < 4
    ]

    assert names == []


def test_every_source_says_what_it_is_for() -> None:
    silent = [
        shown(path)
        for path in every_python_file()
        if path.name != "__main__.py" and path.read_text(encoding="utf-8").strip()
        if not ast.get_docstring(parse(path))
    ]

    assert silent == []
