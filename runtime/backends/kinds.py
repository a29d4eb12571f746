"""The kinds of backend that settings can name, and the dialect of each."""

from collections.abc import Mapping

from portal.runtime.backends import ollama_dialect, openai_dialect
from portal.runtime.backends.http_backend import Dialect, HTTPBackend
from portal.runtime.backends.ollama_models import OllamaModels
from portal.runtime.backends.openai_models import OpenAIModels
from portal.runtime.ops import schema

DIALECTS: Mapping[str, Dialect] = {
    "ollama": Dialect(
        "ollama",
        "/api/chat",
        OllamaModels,
        ollama_dialect.encode_request,
        ollama_dialect.drops,
        ollama_dialect.EventReader,
    ),
    "openai": Dialect(
        "openai",
        "/v1/chat/completions",
        OpenAIModels,
        openai_dialect.encode_request,
        openai_dialect.drops,
        openai_dialect.EventReader,
    ),
}
NEIGHBOURS = (
    schema.Backend(name="ollama", kind="ollama", url="http://127.0.0.1:11434"),
    schema.Backend(name="lmstudio", kind="openai", url="http://127.0.0.1:1234"),
)
"""Servers looked for on this machine without being named."""


def make_backends(settings: schema.Settings) -> list[HTTPBackend]:
    """Make the configured backends in their order, then the neighbours that none of them is."""
    made = [HTTPBackend(each, DIALECTS[each.kind]) for each in settings.backends]
    if settings.server.probe:
        names = {backend.name for backend in made}
        urls = {_address(backend.url) for backend in made}
        made += [
            HTTPBackend(each, DIALECTS[each.kind], configured=False)
            for each in NEIGHBOURS
            if each.name not in names and _address(each.url) not in urls
        ]
    return made


def _address(url: str) -> str:
    return url.replace("://localhost", "://127.0.0.1").replace("://[::1]", "://127.0.0.1")
