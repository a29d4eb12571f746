"""The tables of the docs, made from the code: `python -m tests.doc_tables --write` renews them.

Without `--write` it names the pages that are behind, and ends with status 1 if there are any.
"""

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from portal.runtime.catalogue import describe, discover
from portal.runtime.cli import build_parser
from portal.runtime.hosts.errors import TABLE
from portal.shared import errors
from portal.shared.contract import Route
from tests.checkout import ROOT
from tests.import_rules import KEPT_IN, OWN, THIRD_PARTY


class Table(msgspec.Struct, frozen=True):
    """A table of one page, between the markers `<!-- table: name -->` and `<!-- end -->`."""

    page: str
    name: str
    make: Callable[[], str]


def functions_table() -> str:
    """List every function, as `portal functions` does."""
    rows = [
        (f"`{row.name}`", row.trigger, f"`{row.detail}`", row.scope, _said(row.summary))
        for row in describe(discover())
    ]
    return _table(("function", "trigger", "when", "scope", "what it does"), rows)


def routes_table() -> str:
    """List every route by its path."""
    routed = [
        (function.trigger, function)
        for function in discover()
        if isinstance(function.trigger, Route)
    ]
    rows = [
        (f"`{route.method}`", f"`{route.path}`", route.scope.value, _said(function.summary))
        for route, function in sorted(routed, key=lambda pair: (pair[0].path, pair[0].method))
    ]
    return _table(("method", "path", "scope", "what it does"), rows)


def errors_table() -> str:
    """List every error class, parents first, with its status, type and code."""
    rows = []
    for depth, error in error_classes():
        answer = next(TABLE[parent] for parent in error.__mro__ if parent in TABLE)
        meaning = inspect.cleandoc(error.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
        name = "&nbsp;&nbsp;" * depth + f"`{error.__name__}`"
        rows.append((name, str(answer.status), f"`{answer.type}`", f"`{error.code}`", meaning))
    return _table(("error", "status", "type", "code", "meaning"), rows)


def error_classes() -> Iterator[tuple[int, type[errors.PortalError]]]:
    """Walk the error tree: depth and class."""

    def below(parent: type[errors.PortalError], depth: int) -> Iterator[tuple[int, type]]:
        yield depth, parent
        for child in parent.__subclasses__():
            if child.__module__ == errors.__name__:
                yield from below(child, depth + 1)

    yield from below(errors.PortalError, 0)


def imports_table() -> str:
    """List what each area may import, and what only one place may."""
    rows = []
    for area, own in OWN.items():
        libraries = sorted(THIRD_PARTY.get(area, ()))
        others = _code(libraries) if libraries else "any of the project's, but for the next lines"
        rows.append((f"`{area}/`", _code(own), others))
    for place in dict.fromkeys(KEPT_IN.values()):
        kept = [library for library in KEPT_IN if KEPT_IN[library] == place]
        rows.append((f"only `{place}`", "", _code(kept)))
    return _table(("area", "of Portal", "of others"), rows)


def commands_table() -> str:
    """List every command with its options."""
    rows = []
    for name, command, summary in commands():
        options = [
            option
            for action in command._actions
            if action.help != argparse.SUPPRESS
            for option in action.option_strings[-1:]
            if option not in ("--help", "--config")
        ]
        rows.append((f"`portal {name}`", _code(options), summary))
    return _table(("command", "options", "what it does"), rows)


def commands() -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    """Walk the commands of `portal`: name, parser, summary."""
    for action in build_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, command in action.choices.items():
                yield name, command, summaries.get(name, "")


TABLES = (
    Table("docs/functions.md", "functions", functions_table),
    Table("docs/api.md", "routes", routes_table),
    Table("docs/errors.md", "errors", errors_table),
    Table("docs/ARCHITECTURE.md", "imports", imports_table),
    Table("docs/commands.md", "commands", commands_table),
)


def renewed(table: Table, text: str) -> str:
    """Put the table into its page's text. Raises LookupError where the page lacks the markers."""
    start = f"<!-- table: {table.name} -->"
    pattern = re.compile(re.escape(start) + r"\n.*?<!-- end -->", flags=re.DOTALL)
    found = pattern.findall(text)
    if len(found) != 1:
        raise LookupError(f"{table.page}: {len(found)} places marked {start}; one is needed")
    return pattern.sub(lambda _: f"{start}\n{table.make()}\n<!-- end -->", text)


def main(words: Sequence[str] | None = None) -> int:
    """Check the tables, or write them."""
    parser = argparse.ArgumentParser(prog="python -m tests.doc_tables", description=__doc__)
    parser.add_argument("--write", action="store_true", help="renew the pages")
    write = parser.parse_args(words).write
    behind = []
    for table in TABLES:
        page = Path(ROOT, table.page)
        text = page.read_text(encoding="utf-8")
        new = renewed(table, text)
        if new == text:
            continue
        behind.append(table)
        if write:
            page.write_text(new, encoding="utf-8")
    for table in behind:
        done = "renewed" if write else "is behind; run `python -m tests.doc_tables --write`"
        print(f"{table.page}: the table of {table.name} {done}")
    return 1 if behind and not write else 0


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")


def _said(summary: str) -> str:
    """Drop the trigger that a docstring begins with: its own column shows it."""
    return summary.partition(": ")[2] or summary


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


if __name__ == "__main__":
    sys.exit(main())
