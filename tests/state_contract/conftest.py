"""The stores that the contract is held to: a further one is a further name here."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from portal.shared.state_ports import Conversations
from tests.state_here import open_store

STORES = {"sqlite": open_store}


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Conversations]:
    """An empty store, closed afterwards."""
    async with STORES[request.param](tmp_path / "state") as opened:
        yield opened
