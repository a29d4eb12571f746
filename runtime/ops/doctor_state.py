"""What Portal remembers, looked at by the doctor: is the database whole, and of this version?"""

from portal.runtime.ops.findings import Finding, fault, ok
from portal.runtime.ops.schema import Settings
from portal.runtime.state.backup import check_file
from portal.runtime.state.copying import NAME
from portal.runtime.state.migrations import STEPS

CHECK = "database"
DAMAGED = "`portal down`, then `portal restore <backup>`; `backups` in the state directory has some"


def check_database(settings: Settings) -> list[Finding]:
    """Check every page of the database; Portal may run meanwhile."""
    found = check_file(settings.state_dir)
    path = settings.state_dir / NAME
    if found is None:
        return [ok(CHECK, "none yet; the first start makes it")]
    version, faults = found
    if faults:
        return [fault(CHECK, f"{path} is damaged: {'; '.join(faults)}", DAMAGED)]
    note = "" if version == len(STEPS) else f", to be brought to {len(STEPS)} by the next start"
    return [ok(CHECK, f"{path} is whole, schema version {version}{note}")]
