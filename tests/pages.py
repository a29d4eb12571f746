"""The pages of the docs as data: their text, code blocks, links and headings."""

import re
from pathlib import Path

import msgspec

from tests.checkout import ROOT, shown

FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", flags=re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?<!!)\[[^\]]+\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (?P<title>.+)$", flags=re.MULTILINE)


class Block(msgspec.Struct, frozen=True):
    """A fenced block: its language, what else its first line says, its text."""

    page: str
    language: str
    more: str
    text: str


def pages() -> list[Path]:
    """List every page that people read."""
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [*top, *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(*languages: str) -> list[Block]:
    """Find the fenced blocks in these languages."""
    found = []
    for page in pages():
        for fence in FENCE.finditer(page.read_text(encoding="utf-8")):
            language, _, more = fence["info"].partition(" ")
            if language in languages:
                found.append(Block(shown(page), language, more, fence["text"]))
    return found


def links(page: Path) -> list[str]:
    """List the targets of a page's links, code left out."""
    prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))
    return [found["target"] for found in LINK.finditer(prose)]


def anchors(page: Path) -> set[str]:
    """List the anchors of a page's headings, as GitHub makes them."""
    titles = [found["title"] for found in HEADING.finditer(page.read_text(encoding="utf-8"))]
    plain = [re.sub(r"[^\w\- ]", "", title.lower()) for title in titles]
    return {title.strip().replace(" ", "-") for title in plain}


def commands() -> list[tuple[str, str]]:
    """Find each command line of the shell blocks: page, line with its continuations joined."""
    return [
        (block.page, line)
        for block in blocks("sh")
        for line in re.split(r"\n(?=[a-z.])", block.text.replace("\\\n", " ").strip())
    ]
