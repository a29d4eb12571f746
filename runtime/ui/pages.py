"""The web page's files, read once from the package when the first one is asked for."""

import functools
import hashlib
from importlib import resources

from portal.runtime.ui.markdown import render
from portal.shared.errors import NotFound
from portal.shared.ports import Asset

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class PackagedPages:
    """The `Pages` port over the files that ship beside this module."""

    def asset(self, name: str) -> Asset:
        """Give a file of the page by its name. Raises NotFound."""
        try:
            return _assets()[name]
        except KeyError:
            raise NotFound(
                f"The page has no file {name[:80]!r}; its files are {', '.join(sorted(_assets()))}."
            ) from None

    def render(self, markdown: str) -> str:
        """Turn Markdown into safe HTML; see `portal.runtime.ui.markdown`."""
        return render(markdown)


@functools.cache
def _assets() -> dict[str, Asset]:
    """Only files of a known kind, so a name can never reach a module or leave the folder."""
    found = {}
    for file in resources.files("portal.runtime.ui").iterdir():
        _, dot, extension = file.name.rpartition(".")
        media_type = MEDIA_TYPES.get(dot + extension)
        if media_type is not None:
            body = file.read_bytes()
            etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            found[file.name] = Asset(media_type, body, etag)
    return found
