"""Who holds the port that Portal wants: nobody, this Portal, or another program by name.

Linux tells in /proc, other systems through `lsof` where it is installed. Without either, the
port is still known to be taken, only not by whom.
"""

import contextlib
import errno
import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from portal.runtime.ops.findings import Finding, fault, ok
from portal.runtime.ops.instance import RunInfo
from portal.runtime.ops.schema import Server
from portal.runtime.server import bind
from portal.shared.errors import ConfigurationError

LISTENING = "0A"
LSOF_SECONDS = 10.0
PROC = Path("/proc")


class Holder(msgspec.Struct, frozen=True):
    """A program that listens on a port."""

    pid: int
    name: str


def check_port(server: Server, run: RunInfo | None) -> list[Finding]:
    """Check that the port is free, or this Portal's own."""
    port = server.port
    if run is not None and urlsplit(run.url).port == port:
        return [ok("port", f"{port} is held by the running Portal (pid {run.pid})")]
    if port == 0:
        return [ok("port", "any free one is taken at the start")]
    try:
        bind(server.host, port).close()
    except ConfigurationError as error:
        return [_taken(server, error)]
    return [ok("port", f"{port} on {server.host} is free")]


def _taken(server: Server, error: ConfigurationError) -> Finding:
    cause = error.__cause__
    if not (isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE):
        return fault("port", error.message, "correct server.host or server.port")
    holders = find_holders(server.port)
    if holders:
        who = " and ".join(f"{holder.name} (pid {holder.pid})" for holder in holders)
    else:
        who = "another program, of another user perhaps"
    return fault(
        "port",
        f"{server.port} on {server.host} is held by {who}",
        "stop that program, or choose another port: `portal up --port 8082`, or server.port",
    )


def find_holders(port: int) -> list[Holder]:
    """Find who listens on a port, as far as this user may know; never raises."""
    if (PROC / "net" / "tcp").exists():
        return _from_proc(port)
    return _from_lsof(port)


def listening_inodes(table: str, port: int) -> set[str]:
    """Read from /proc/net/tcp which sockets listen on a port; pure."""
    found = set()
    for line in table.splitlines()[1:]:
        columns = line.split()
        if len(columns) > 9 and columns[3] == LISTENING:
            local = columns[1].rpartition(":")[2]
            if int(local, 16) == port:
                found.add(columns[9])
    return found


def parse_lsof(output: str) -> list[Holder]:
    """Read the output of `lsof -Fpc`: `p<pid>` and `c<command>` lines by turns; pure."""
    found = []
    pid = 0
    for line in output.splitlines():
        if line.startswith("p") and line[1:].isdigit():
            pid = int(line[1:])
        elif line.startswith("c") and pid:
            found.append(Holder(pid, line[1:]))
            pid = 0
    return found


def _from_proc(port: int) -> list[Holder]:
    inodes: set[str] = set()
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError, ValueError):
            inodes |= listening_inodes((PROC / "net" / name).read_text(encoding="ascii"), port)
    links = {f"socket:[{inode}]" for inode in inodes}
    found = []
    for folder in PROC.iterdir():
        # Processes end meanwhile, and those of other users keep their files to themselves.
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and _holds(folder, links):
                found.append(Holder(int(folder.name), _name(folder)))
    return found


def _holds(process: Path, links: set[str]) -> bool:
    for descriptor in (process / "fd").iterdir():
        with contextlib.suppress(OSError):
            if os.readlink(descriptor) in links:  # noqa: PTH115 — it is no path
                return True
    return False


def _name(process: Path) -> str:
    words = (process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    comm = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
    # `python3` alone would not tell which program it is.
    script = next((word for word in words[1:] if word and not word.startswith("-")), "")
    interpreted = comm.startswith(("python", "node", "java", "ruby"))
    return f"{comm} {script}" if interpreted and script else comm


def _from_lsof(port: int) -> list[Holder]:
    lsof = shutil.which("lsof")
    if lsof is None:
        return []
    try:
        done = subprocess.run(  # noqa: S603 — a fixed command and a number
            [lsof, "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"],
            check=False,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=LSOF_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return parse_lsof(done.stdout)
