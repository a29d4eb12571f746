"""The seventeen properties of docs/SEED.md: each is held by a test that exists, or says when."""

import ast
import re
import subprocess
import sys

import msgspec
import pytest

from tests.checkout import ROOT, parse

LEAST_TESTS = 245
TOPICS = {"gateway", "state", "channels", "operations"}
ROW = re.compile(r"^\| (S\d+) \|[^|]+\|([^|]*)\|([^|]*)\|$", flags=re.MULTILINE)
ROWS = [
    (name, held.strip(), topic.strip())
    for name, held, topic in ROW.findall((ROOT / "docs/SEED.md").read_text(encoding="utf-8"))
]


COLLECT = """
import json, sys
import pytest

def integration(items):
    return sum(item.get_closest_marker("integration") is not None for item in items)

class Watch:
    run = run_live = left_out = left_out_live = 0
    def pytest_deselected(self, items):
        self.left_out += len(items)
        self.left_out_live += integration(items)
    def pytest_collection_finish(self, session):
        self.run = len(session.items)
        self.run_live = integration(session.items)

watch = Watch()
status = pytest.main(["--collect-only", "-qq", "-p", "no:cacheprovider"], plugins=[watch])
print(json.dumps(vars(watch)))
sys.exit(status)
"""


class Collection(msgspec.Struct):
    """What a default run takes and leaves out: tests, and how many of them are integration's."""

    run: int
    left_out: int = 0
    left_out_live: int = 0
    run_live: int = 0


@pytest.fixture(scope="module")
def collection() -> Collection:
    """Ask a pytest of its own what it would run."""
    run = subprocess.run(
        [sys.executable, "-c", COLLECT],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        timeout=180,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return msgspec.json.decode(run.stdout.splitlines()[-1], type=Collection)


def test_every_property_is_listed_once() -> None:
    assert [name for name, _, _ in ROWS] == [f"S{number}" for number in range(1, 18)]


@pytest.mark.parametrize(("name", "held", "topic"), ROWS)
def test_every_property_is_held_or_says_what_it_comes_with(
    name: str, held: str, topic: str
) -> None:
    if not held:
        assert topic in TOPICS, f"{name} names no test and no topic"
        return
    file, _, test = held.strip("`").partition("::")
    tests = [
        node.name
        for node in ast.walk(parse(ROOT / file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    ]

    assert tests, f"{file} has no tests"
    assert not test or test in tests, f"{file} has no {test}"


def test_a_default_run_has_at_least_245_tests(collection: Collection) -> None:
    assert collection.run >= LEAST_TESTS


def test_a_default_run_leaves_integration_out(collection: Collection) -> None:
    assert collection.run_live == 0
    assert collection.left_out == collection.left_out_live > 0
