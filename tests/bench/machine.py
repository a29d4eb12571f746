"""The machine and its processes, as the system itself accounts for them."""

import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
import psutil

MIB = 1024 * 1024
SHOWN = ("portal-local", "litestar", "uvicorn", "uvloop", "httptools", "msgspec", "httpx")


class Machine(msgspec.Struct, frozen=True):
    """Where and with what the figures were taken."""

    system: str
    processor: str
    cores: int
    memory_gib: float
    load_before: float
    """Programs that wanted a core in the minute before the first measurement."""
    yardstick_us: tuple[float, float]
    """A fixed piece of Python: its fastest and its median CPU time. Far apart: a busy machine."""
    python: str
    versions: dict[str, str]


class Memory(msgspec.Struct, frozen=True):
    """A process's memory in MiB; `pss` counts shared pages by share, None where not told."""

    rss: float
    pss: float | None


def cpu_ns(pids: Sequence[int]) -> int:
    """Read the CPU time that processes have used so far, all their threads, in nanoseconds."""
    return sum(_cpu_ns(pid) for pid in pids)


def _cpu_ns(pid: int) -> int:
    if sys.platform == "linux":
        # The clock that clock_getcpuclockid(3) names: exact, and threads that ended are in it.
        used = time.clock_gettime_ns((~pid << 3) | 2)
    else:
        times = psutil.Process(pid).cpu_times()
        used = round((times.user + times.system) * 1e9)
    return used


def memory_of(pid: int) -> Memory:
    """Read how much memory a process holds."""
    rollup = Path(f"/proc/{pid}/smaps_rollup")
    pss = None
    if rollup.exists():
        for line in rollup.read_text("ascii").splitlines():
            if line.startswith("Pss:"):
                pss = int(line.split()[1]) / 1024
    return Memory(psutil.Process(pid).memory_info().rss / MIB, pss)


def with_children(pid: int) -> list[int]:
    """List a process and all that it started."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def yardstick() -> tuple[float, float]:
    """Time a fixed piece of Python many times; the fastest and the median CPU µs.

    Busy neighbours slow a core's caches down, and the clock of a process counts that as its own.
    """
    samples = []
    for _ in range(200):
        started = time.process_time_ns()
        sum({str(number): number for number in range(2000)}.values())
        samples.append((time.process_time_ns() - started) / 1000)
    return round(min(samples), 1), round(statistics.median(samples), 1)


def describe() -> Machine:
    """Look at this machine."""
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        cores=os.cpu_count() or 0,
        memory_gib=round(psutil.virtual_memory().total / 1024**3, 1),
        load_before=round(psutil.getloadavg()[0], 2),
        yardstick_us=yardstick(),
        python=platform.python_version(),
        versions={name: found for name in SHOWN if (found := _version(name))},
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
