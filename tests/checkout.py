"""The checkout as data: where its sources lie, and what they are called once installed."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
AREAS = ("functions", "mcp", "runtime", "shared")
"""Top folders of the package `portal`."""


def project() -> dict[str, Any]:
    """Read pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def shipped_files() -> Iterator[Path]:
    """List every file that belongs into the wheel, below its area."""
    for area in AREAS:
        for path in sorted((ROOT / area).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def sources(*areas: str) -> list[Path]:
    """List the Python files of these areas, or of all."""
    return [
        path
        for path in shipped_files()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in (areas or AREAS)
    ]


def every_python_file() -> list[Path]:
    """List the sources, the tests and the noxfile."""
    tests = sorted((ROOT / "tests").rglob("*.py"))
    return [*sources(), *tests, ROOT / "noxfile.py"]


def shown(path: Path) -> str:
    """Write a path as people name it: below the checkout, with forward slashes."""
    return path.relative_to(ROOT).as_posix()


def parse(path: Path) -> ast.Module:
    """Parse a Python file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def module_name(path: Path) -> str:
    """Name a source as it is imported: `functions/web/page.py` is `portal.functions.web.page`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("portal", *(parts[:-1] if parts[-1] == "__init__" else parts)))
