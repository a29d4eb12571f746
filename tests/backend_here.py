"""A backend of Portal within the test's own process, in front of a fake."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from portal.runtime.backends.http_backend import HTTPBackend
from portal.runtime.backends.kinds import DIALECTS
from portal.runtime.ops import schema
from portal.shared.models import Model
from tests.fakes.fake import Fake


@asynccontextmanager
async def backend_for(fake: Fake, **settings: Any) -> AsyncIterator[HTTPBackend]:
    """Make the backend that settings would make of a fake, and discover it once."""
    made = schema.Backend(**fake.backend(), **settings)
    backend = HTTPBackend(made, DIALECTS[made.kind])
    try:
        await backend.discover()
        yield backend
    finally:
        await backend.aclose()


def named(backend: HTTPBackend) -> dict[str, Model]:
    """Give its models by name."""
    return {model.name: model for model in backend.models()}


async def seen(fake: Fake, event: str, count: int = 1, *, path: str) -> None:
    """Wait for what a fake sees, while this process goes on."""
    await asyncio.to_thread(fake.wait, event, count, path=path)
