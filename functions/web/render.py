"""POST /portal/render: turn Markdown into HTML that is safe to show."""

from typing import Protocol

import msgspec

from portal.shared.contract import MIB, Route, Scope
from portal.shared.errors import TooLarge
from portal.shared.ports import HasPages

ROUTE = Route("POST", "/portal/render", Scope.CHAT, max_body=2 * MIB)
TEXT_LIMIT = 200_000
"""Characters; the longest answers of today's models are shorter."""


class Request(msgspec.Struct, frozen=True):
    """Markdown as a model writes it, finished or not."""

    markdown: str


class Rendered(msgspec.Struct, frozen=True):
    """Sanitised HTML, code highlighted by classes; nothing in it loads anything."""

    html: str


class Needs(HasPages, Protocol):
    """All that this function may touch."""


def handle(request: Request, context: Needs) -> Rendered:
    """Render in a worker thread, since a long text takes a while. Raises TooLarge."""
    if len(request.markdown) > TEXT_LIMIT:
        raise TooLarge(
            f"The text has {len(request.markdown):,} characters; {TEXT_LIMIT:,} can be rendered.",
            param="markdown",
        )
    return Rendered(context.pages.render(request.markdown))
