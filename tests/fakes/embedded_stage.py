"""A place for the embedded model's server and its scripted children, inspected afterwards."""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil

from portal.runtime.backends.embedded_server import EmbeddedServer, Pace
from portal.runtime.ops.schema import Embedded

SCRIPT = Path(__file__).parent / "embedded_child_script.py"
PATIENCE = 20.0
QUICK = Pace(first_wait=0.01, longest_wait=0.05, tries=3, settled=60.0, grace=0.2)


class Stage:
    """A state directory with weights, the children that ran there, and servers for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state_dir = folder / "state"
        self.model = folder / "tiny.gguf"
        self.model.write_bytes(b"GGUF")

    def server(self, *behaviours: str, pace: Pace = QUICK, **settings: Any) -> EmbeddedServer:
        chosen: dict[str, Any] = {"model_path": self.model, "start_seconds": PATIENCE, **settings}
        command = [sys.executable, str(SCRIPT), str(self.folder), *behaviours]
        return EmbeddedServer(Embedded(**chosen), self.state_dir, child_command=command, pace=pace)

    @property
    def runs(self) -> list[dict[str, Any]]:
        record = self.folder / "runs"
        if not record.exists():
            return []
        return [msgspec.json.decode(line) for line in record.read_bytes().splitlines()]

    @property
    def pids(self) -> list[int]:
        return [run["pid"] for run in self.runs]

    def let_go(self) -> None:
        """Allow a held child to say that it is ready."""
        (self.folder / "go").touch()


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    """Give a stage; whatever is done there, no child is left, not even a zombie of ours."""
    stage = Stage(folder)
    before = set(psutil.Process().children())
    yield stage
    assert set(psutil.Process().children()) - before == set()
    assert [pid for pid in stage.pids if not ended(pid)] == []


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - the condition lies in another process
            await asyncio.sleep(0.005)


def idling(server: EmbeddedServer) -> bool:
    """Whether the idle time runs; that nothing happens cannot be awaited."""
    return server._idle is not None


def ended(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
