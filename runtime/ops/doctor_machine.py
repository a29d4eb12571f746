"""Checks of this machine: Python, libraries, clock, directories, disk, the embedded model's files.

Blocking: the doctor runs them in threads.
"""

import importlib
import importlib.metadata
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from portal.runtime.backends import weights
from portal.runtime.ops.checks import inside
from portal.runtime.ops.findings import Finding, fault, ok, warn
from portal.runtime.ops.schema import Settings
from portal.runtime.ops.version import DISTRIBUTION
from portal.shared.errors import ConfigurationError

OLDEST_PYTHON = (3, 11)
EARLIEST_YEAR = 2025
MIB = 1024 * 1024
LITTLE_DISK = 500 * MIB
NO_DISK = 50 * MIB
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*([^;]*?)\s*(?:;\s*(.*))?")
_BOUND = re.compile(r"\s*(>=|<)\s*([0-9.]+)\s*")


class Requirement(msgspec.Struct, frozen=True):
    """A library that Portal cannot do without."""

    name: str
    bounds: str
    """As pip reads them: `>=2.25,<3`."""


def check_python() -> list[Finding]:
    """Check the version of the interpreter."""
    found = f"Python {platform.python_version()} ({sys.executable})"
    if sys.version_info[:2] < OLDEST_PYTHON:
        wanted = ".".join(str(part) for part in OLDEST_PYTHON)
        return [fault("python", found, f"install Python {wanted} or newer, and Portal in it")]
    return [ok("python", found)]


def check_libraries() -> list[Finding]:
    """Import every required library, and compare its version with what Portal was made for."""
    wanted = requirements(importlib.metadata.requires(DISTRIBUTION) or (), sys.platform)
    modules = modules_of(importlib.metadata.packages_distributions())
    findings: list[Finding] = []
    versions: list[str] = []
    for each in wanted:
        fix = f"{sys.executable} -m pip install '{each.name}{each.bounds}'"
        try:
            version = importlib.metadata.version(each.name)
            for module in modules.get(normalised(each.name), ()):
                importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 — a broken library may raise anything
            reason = f"{type(error).__name__}: {error}"
            findings.append(fault("libraries", f"{each.name} cannot be imported: {reason}", fix))
            continue
        versions.append(f"{each.name} {version}")
        if not satisfies(version, each.bounds):
            found = f"{each.name} is {version}, expected {each.bounds}"
            findings.append(fault("libraries", found, fix))
    return findings or [ok("libraries", ", ".join(versions))]


def modules_of(distributions: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Turn `packages_distributions` round: public modules by the distribution they are of; pure."""
    found: dict[str, list[str]] = {}
    for module, owners in distributions.items():
        if module.isidentifier() and not module.startswith("_"):
            for owner in owners:
                found.setdefault(normalised(owner), []).append(module)
    return found


def normalised(name: str) -> str:
    """Write a distribution's name in the one way that all its spellings come to."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(lines: Iterable[str], system: str) -> list[Requirement]:
    """Read the metadata's requirements, without extras and other systems' ones; pure."""
    found = []
    for line in lines:
        match = _REQUIREMENT.fullmatch(line)
        if match is None:
            continue
        name, bounds, marker = match.groups()
        elsewhere = re.search(r"sys_platform\s*!=\s*['\"](\w+)['\"]", marker or "")
        if "extra" in (marker or "") or (elsewhere and elsewhere[1] == system):
            continue
        found.append(Requirement(name.lower(), bounds.replace(" ", "")))
    return found


def satisfies(version: str, bounds: str) -> bool:
    """Compare a version with bounds of `>=` and `<`, which is all that Portal uses; pure."""
    own = _numbers(version)
    for bound in bounds.split(","):
        match = _BOUND.fullmatch(bound)
        if match is None:
            continue
        limit = _numbers(match[2])
        if (match[1] == ">=" and own < limit) or (match[1] == "<" and own >= limit):
            return False
    return True


def check_clock(now: datetime | None = None) -> list[Finding]:
    """Check that the clock was set since the machine was switched on."""
    now = now or datetime.now(UTC)
    found = now.isoformat(" ", "seconds")
    if now.year < EARLIEST_YEAR:
        return [fault("clock", f"it says {found}", "set the clock, for instance by NTP")]
    return [ok("clock", found)]


def check_directory(name: str, path: Path) -> list[Finding]:
    """Check that a directory can be written, or made."""
    fix = f"make it a directory that this user may write, or name another by {_variable(name)}"
    existing = _existing(path)
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        return [fault(name, f"{path} cannot be written: {reason}", fix)]
    return [ok(name, str(path) if existing == path else f"{path} (made at the first start)")]


def check_separate(data_dir: Path, state_dir: Path) -> list[Finding]:
    """Check that no tool which may touch the user's files can reach Portal's own state."""
    if inside(state_dir, data_dir) or inside(data_dir, state_dir):
        return [
            fault(
                "directories",
                f"{data_dir} and {state_dir} are not separate: tools could read Portal's state",
                "set PORTAL_DATA_DIR and PORTAL_STATE_DIR to directories side by side",
            )
        ]
    return [ok("directories", "data and state are separate")]


def check_disk(state_dir: Path) -> list[Finding]:
    """Check that there is room for what Portal writes."""
    free = shutil.disk_usage(_existing(state_dir)).free
    found = f"{free / 1e9:.1f} GB free for {state_dir}"
    if free < NO_DISK:
        return [fault("disk", found, "make room, or name another disk by PORTAL_STATE_DIR")]
    if free < LITTLE_DISK:
        return [warn("disk", found, "make room soon, or name another disk by PORTAL_STATE_DIR")]
    return [ok("disk", found)]


def check_embedded(settings: Settings) -> list[Finding]:
    """Check that the embedded model's library and weights are there, and the right ones."""
    name = "embedded model"
    if not settings.embedded.enabled:
        return [ok(name, "switched off by embedded.enabled = false")]
    findings: list[Finding] = []
    if not weights.extra_installed():
        fix = "pip install 'portal-local[embedded]'"
        findings.append(warn(name, "its library, xllamacpp, is not installed", fix))
    try:
        found = weights.find_weights(settings.embedded, settings.state_dir)
        if found is not None:
            weights.check_weights(found, settings.state_dir)
    except ConfigurationError as error:
        own = settings.embedded.model_path is not None
        fix = "correct embedded.model_path" if own else "portal models pull embedded"
        return [*findings, fault(name, error.message, fix)]
    if found is None:
        missing = f"its weights ({weights.DOWNLOAD}) are not here"
        return [*findings, warn(name, missing, "portal models pull embedded")]
    digest = "digest right" if found.sha256 else "a file of your own"
    return [*findings, ok(name, f"{found.facts.name}: {found.path} ({digest})")]


def _existing(path: Path) -> Path:
    """Find the nearest part of a path that exists, whatever it is."""
    return next((part for part in (path, *path.parents) if part.exists()), path)


def _variable(name: str) -> str:
    return f"PORTAL_{name.partition(' ')[0].upper()}_DIR"


def _numbers(version: str) -> tuple[int, ...]:
    leading = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in leading[0].split(".")) if leading else ()
