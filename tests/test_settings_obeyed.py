"""No setting is only listed: some code reads it off the settings, not off something alike."""

import textwrap

import msgspec
import pytest

from portal.runtime.ops import schema
from portal.runtime.ops.fields import fields, layout
from tests.checkout import module_name, sources
from tests.struct_reads import Read, reads

DESCRIBERS = {
    f"portal.runtime.ops.{name}"
    for name in (
        "assembly",
        "checks",
        "examples",
        "explain",
        "fields",
        "schema",
        "settings",
        "sources",
        "values",
    )
}
"""Modules that read, check or describe settings without obeying them."""


def test_every_setting_is_read_by_code_that_obeys_it() -> None:
    files = {
        module_name(path): path.read_text(encoding="utf-8")
        for path in sources("functions", "runtime", "shared")
    }
    found = reads(files, DESCRIBERS)
    known = layout()
    structs: list[type[msgspec.Struct]] = [schema.Settings]
    structs += [*known.sections.values(), *known.lists.values(), *known.tables.values()]
    unread = [
        f"{struct.__name__}.{name}"
        for struct in structs
        for name in fields(struct)
        if Read(f"{struct.__module__}.{struct.__name__}", name) not in found
    ]
    assert unread == [], "no code reads these off a value that is annotated as their struct"


SCHEMA = """
    class A: # a struct with a field of each kind
        url: str
        name: str

    class All:
        a: A
        many: tuple[A, ...]
        by_id: dict[str, A]
"""
PROTOCOL = "from typing import Protocol\nclass P(Protocol):\n"


def found_in(code: str) -> set[str]:
    """Say which fields of A a module reads that imports both structs."""
    files = {
        "portal.schema": textwrap.dedent(SCHEMA),
        "portal.user": "from portal import schema\n" + textwrap.dedent(code),
    }
    return {read.field for read in reads(files) if read.owner == "portal.schema.A"}


@pytest.mark.parametrize(
    "code",
    [
        "def f(a: schema.A) -> str: return a.url",
        "def f(a: 'schema.A | None') -> str: return a.url if a else ''",
        "def f(all: schema.All) -> str: return all.a.url",
        "async def f(all: schema.All) -> str: return await g(all.a.url)",
        "def f(all: schema.All) -> str: return all.by_id['x'].url",
        "def f(all: schema.All) -> str: return all.by_id.get('x', schema.A()).url",
        "def f(all: schema.All) -> list[str]: return [a.url for a in all.many]",
        "def f(all: schema.All) -> dict[str, str]: return {k: a.url for k, a in all.by_id.items()}",
        "def f(all: schema.All) -> list: return sorted(all.many, key=lambda a: a.url)",
        "def f(all: schema.All) -> str: return max((*all.many, all.a), key=len).url",
        "def f(all: schema.All) -> None:\n for n, a in enumerate(all.many, 1):\n  print(a.url)",
        "def f(all: schema.All) -> None:\n match all.a:\n  case schema.A(url=found): print(found)",
        "def g() -> schema.A: ...\ndef f() -> str: return g().url",
        "def f(all: schema.All) -> str:\n if a := all.a:\n  return a.url",
        "def f(a: schema.A) -> object:\n def g() -> str: return a.url\n return g",
        "class B:\n def __init__(self, a: schema.A): self._a = a\n def f(self): return self._a.url",
        "class B:\n a: schema.A\nclass C:\n def f(self, b: B): return b.a.url",
        "class B:\n @property\n def a(self) -> schema.A: ...\ndef f(b: B): return b.a.url",
        f"{PROTOCOL} url: str\ndef f(p: P): return p.url",
    ],
)
def test_a_field_that_is_read_is_found(code: str) -> None:
    assert found_in(code) == {"url"}


@pytest.mark.parametrize(
    "code",
    [
        "class Other:\n url: str\ndef f(other: Other) -> str: return other.url",
        "class A:\n url: str\ndef f(a: A) -> str: return a.url",
        "def f(other) -> str: return other.url",
        "def f(all: schema.All) -> str: return all.many.url",
        "def f(a: schema.A) -> None: a.url = 'x'",
        "def f(url: str) -> schema.A: return schema.A(url=url)",
        f"{PROTOCOL} url: str\n size: int\ndef f(p: P): return p.url",
        f"class Q: ...\n{PROTOCOL} url: Q\ndef f(p: P): return p.url",
    ],
)
def test_a_field_of_that_name_on_something_else_is_not_found(code: str) -> None:
    assert found_in(code) == set()
