"""The doctor: every check in its order, and no check that breaks the others.

What is looked at is in `doctor_machine` (this machine), `doctor_port` (who holds the port),
`doctor_portal` (the Portal that runs) and `doctor_backends` (who answers).
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import ParamSpec

from portal.runtime.ops import doctor_backends, doctor_machine, doctor_portal, doctor_state
from portal.runtime.ops.doctor_backends import OpenBackends
from portal.runtime.ops.doctor_port import check_port
from portal.runtime.ops.findings import Finding, fault, guarded, ok, warn
from portal.runtime.ops.instance import RunInfo, read_run
from portal.runtime.ops.schema import Settings
from portal.runtime.ops.settings import load
from portal.shared.errors import ConfigurationError

P = ParamSpec("P")


async def diagnose(
    config: Path | None, open_backends: OpenBackends, *, environ: Mapping[str, str] | None = None
) -> list[Finding]:
    """Run every check. Broken settings are a fault, and the rest is checked with the defaults.

    Asks each backend for one token. Leaves nothing behind but the remembered digest of weights.
    """
    environ = os.environ if environ is None else environ
    settings, told = read_settings(config, environ)
    data, state = settings.data_dir, settings.state_dir
    machine = doctor_machine
    findings = [
        *await _in_thread("python", machine.check_python),
        *await _in_thread("libraries", machine.check_libraries),
        *await _in_thread("clock", machine.check_clock),
        *told,
        *await _in_thread("data directory", machine.check_directory, "data directory", data),
        *await _in_thread("state directory", machine.check_directory, "state directory", state),
        *await _in_thread("directories", machine.check_separate, data, state),
        *await _in_thread("disk", machine.check_disk, state),
        *await _in_thread("database", doctor_state.check_database, settings),
        *await _in_thread("embedded model", machine.check_embedded, settings),
    ]
    run, told = _find_run(state)
    findings += told
    if run is not None:
        findings += await _in_thread("portal", doctor_portal.check_portal, run)
    findings += await _in_thread("port", check_port, settings.server, run)
    findings += await guarded(
        "backends", doctor_backends.check_backends(settings, run, open_backends)
    )
    return findings


def read_settings(
    config: Path | None, environ: Mapping[str, str]
) -> tuple[Settings, list[Finding]]:
    """Load the settings, or say what is wrong with them and give the defaults."""
    check = "configuration"
    try:
        loaded = load(config, environ=environ)
    except ConfigurationError as error:
        fix = "correct it; `portal config schema` describes every setting"
        faults = [fault(check, line, fix) for line in error.message.splitlines()]
        note = "the checks below use the defaults instead"
        return defaults(environ), [*faults, warn(check, note, "see above")]
    warnings = [
        warn(check, line, "correct or remove it; nothing reads it") for line in loaded.warnings
    ]
    place = "no configuration file, defaults throughout" if loaded.path is None else loaded.path
    return loaded.settings, [ok(check, f"valid: {place}"), *warnings]


def defaults(environ: Mapping[str, str]) -> Settings:
    """Give the default settings, the directories from the environment where it names them."""
    home = Path(environ.get("HOME") or environ.get("USERPROFILE") or Path.home())
    data = Path(environ.get("PORTAL_DATA_DIR") or home / ".portal" / "data")
    state = Path(environ.get("PORTAL_STATE_DIR") or data.parent / "state")
    return Settings(data.absolute(), state.absolute())


def _find_run(state_dir: Path) -> tuple[RunInfo | None, list[Finding]]:
    try:
        run = read_run(state_dir)
    except ConfigurationError:
        return None, []  # the check of the state directory tells it
    if run is None:
        return None, [ok("portal", "not running; the checks here need no running Portal")]
    return run, []


def _in_thread(
    name: str, check: Callable[P, list[Finding]], *words: P.args, **named: P.kwargs
) -> Awaitable[list[Finding]]:
    return guarded(name, asyncio.to_thread(check, *words, **named))
