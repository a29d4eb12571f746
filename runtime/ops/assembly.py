"""The winning entries of all sources, made into one `Settings`. Every fault becomes a line.

Owns defaults that depend on other settings, and the rules between settings.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from portal.runtime.ops import checks, ollama_host, schema, values
from portal.runtime.ops.fields import Field, Key, dotted, fields, item_key, layout, words
from portal.runtime.ops.sources import Entry, Layer, hint

DEFAULT = "default"
OLLAMA = "ollama"

S = TypeVar("S", bound=msgspec.Struct)


class Report(msgspec.Struct):
    """What reading the settings has found out so far."""

    faults: list[str] = []
    warnings: list[str] = []
    places: dict[str, str] = {}


def assemble(
    entries: Layer, ollama: Entry | None, home: Path | None, report: Report
) -> schema.Settings | None:
    """Build the settings; None when a fault was reported. `ollama` is the text of OLLAMA_HOST."""
    known = layout()
    before = len(report.faults)
    made: dict[str, Any] = {}
    for name, field in known.plain.items():
        made |= _field((name,), (name,), field, entries.get((name,)), home, report)
    for name, struct in known.sections.items():
        made[name] = _section(struct, (name,), entries, home, report)
    for name, struct in known.lists.items():
        made[name] = _list(struct, name, entries.get((name,)), home, report)
    for name, struct in known.tables.items():
        made[name] = _tables(struct, name, entries, home, report)
    _directories(made, entries, home, report)
    _recovery(made["breaker"], entries, report)
    _lists(made, entries, report)
    _ollama(made, ollama, report)
    if len(report.faults) > before:
        return None
    settings = schema.Settings(**made)
    _warn(settings, report)
    return settings


def _field(
    key: Key,
    checked_as: Key,
    field: Field,
    entry: Entry | None,
    home: Path | None,
    report: Report,
) -> dict[str, Any]:
    """Convert one field: `{name: value}`, or nothing when it has its default or a fault."""
    if entry is None:
        report.places[dotted(key)] = DEFAULT
        return {}
    report.places[dotted(key)] = entry.place
    try:
        return {field.name: values.convert(checked_as, field, entry, home)}
    except values.Wrong as wrong:
        as_written = checked_as in checks.AS_WRITTEN
        shown = checks.found(entry.value, secret=field.secret, as_written=as_written)
        report.faults.append(f"{entry.label} is {shown}, expected {wrong}")
        return {}


def _section(
    struct: type[S], key: Key, entries: Mapping[Key, Entry], home: Path | None, report: Report
) -> S:
    made: dict[str, Any] = {}
    for name, field in fields(struct).items():
        path = (*key, name)
        made |= _field(path, (key[0], name), field, entries.get(path), home, report)
    return struct(**made)


def _list(
    struct: type[S], name: str, entry: Entry | None, home: Path | None, report: Report
) -> tuple[S, ...]:
    report.places[name] = entry.place if entry else DEFAULT
    if entry is None:
        return ()
    try:
        given = values.tables(entry)
    except values.Wrong as wrong:
        shown = checks.kind_of(entry.value)
        report.faults.append(f"{entry.label} is {shown}, expected {wrong}")
        return ()
    made = (_item(struct, name, n, table, entry, home, report) for n, table in enumerate(given, 1))
    return tuple(item for item in made if item is not None)


def _item(
    struct: type[S],
    section: str,
    number: int,
    table: Mapping[str, Any],
    entry: Entry,
    home: Path | None,
    report: Report,
) -> S | None:
    """Convert one table of a list; it goes by its name in faults, else by its number."""
    label = item_key(entry.label, table.get("name"), number)
    key = item_key(section, table.get("name"), number)
    report.places[key] = entry.place
    before = len(report.faults)
    for name in table:
        if name not in fields(struct):
            asked = hint((section, name), tuple(fields(struct)))
            report.faults.append(f"{label}: unknown key {checks.shown_key((name,))}; {asked}")
    made: dict[str, Any] = {}
    for name, field in fields(struct).items():
        path = (key, name)
        if name in table:
            item = msgspec.structs.replace(
                entry, value=table[name], label=f"{label}.{name}", text=False
            )
            made |= _field(path, (section, name), field, item, home, report)
        elif field.required:
            report.faults.append(f"{label}.{name} is missing, expected {words(field.type)}")
        else:
            report.places[dotted(path)] = DEFAULT
    return struct(**made) if len(report.faults) == before else None


def _tables(
    struct: type[S], name: str, entries: Layer, home: Path | None, report: Report
) -> dict[str, S]:
    made: dict[str, S] = {}
    ids = dict.fromkeys(key[1] for key in entries if key[0] == name and len(key) > 1)
    for item in ids:
        entry = entries[name, item]
        report.places[f"{name}.{item}"] = entry.place
        try:
            msgspec.convert(item, schema.Name)
        except msgspec.ValidationError:
            expected = words(msgspec.inspect.type_info(schema.Name))
            report.faults.append(f"{entry.label}: the id is not allowed, expected {expected}")
        else:
            made[item] = _section(struct, (name, item), entries, home, report)
    if not ids:
        report.places[name] = DEFAULT
    return made


def _directories(made: dict[str, Any], entries: Layer, home: Path | None, report: Report) -> None:
    if "data_dir" not in made and ("data_dir",) not in entries:
        if home is None:
            report.faults.append(
                "data_dir is not set and there is no HOME to put it in, expected PORTAL_DATA_DIR"
            )
            return
        made["data_dir"] = home / ".portal" / "data"
    if "data_dir" not in made:
        return
    data = made["data_dir"]
    if "state_dir" not in made and ("state_dir",) not in entries:
        made["state_dir"] = data.parent / "state"
    if "state_dir" in made and checks.inside(made["state_dir"], data):
        entry = entries.get(("state_dir",)) or entries.get(("data_dir",))
        label = entry.label if entry else "state_dir"
        report.faults.append(
            f"{label}: Portal's state would lie in {checks.found(str(made['state_dir']))}, inside "
            f"data_dir {checks.found(str(data))}, expected a directory that no tool may touch"
        )


def _recovery(breaker: schema.Breaker, entries: Layer, report: Report) -> None:
    first, longest = breaker.recovery_seconds, breaker.max_recovery_seconds
    if longest >= first:
        return
    if entry := entries.get(("breaker", "max_recovery_seconds")):
        wrong = f"{entry.label} is {longest:g}, expected at least breaker.recovery_seconds"
        report.faults.append(f"{wrong}, which is {first:g}")
    elif entry := entries.get(("breaker", "recovery_seconds")):
        wrong = f"{entry.label} is {first:g}, expected at most breaker.max_recovery_seconds"
        report.faults.append(f"{wrong}, which is {longest:g}")


def _lists(made: Mapping[str, Any], entries: Layer, report: Report) -> None:
    for section in layout().lists:
        if entry := entries.get((section,)):
            faults = checks.repeated(section, [item.name for item in made[section]])
            if section == "backends":
                faults += checks.backend_faults(made[section])
            report.faults += [f"{entry.label}: {fault}" for fault in faults]


def _ollama(made: dict[str, Any], ollama: Entry | None, report: Report) -> None:
    address = ollama_host.parse(ollama.value) if ollama else None
    if ollama is None or address is None:
        return
    if checks.url(address):
        shown = checks.found(ollama.value)
        report.faults.append(
            f"{ollama.label} is {shown}, expected an address such as 127.0.0.1:11434"
        )
        return
    for backend in made["backends"]:
        if checks.same_address(backend.url, address):
            return
        if backend.name == OLLAMA:
            report.warnings.append(
                f'{ollama.label} is passed over, since a backend named "{OLLAMA}" is configured'
            )
            return
    made["backends"] += (schema.Backend(name=OLLAMA, kind="ollama", url=address),)
    report.places[f"backends[{OLLAMA}]"] = ollama.place
    for name, field in fields(schema.Backend).items():
        place = ollama.place if field.required else DEFAULT
        report.places[f"backends[{OLLAMA}].{name}"] = place


def _warn(settings: schema.Settings, report: Report) -> None:
    no_key = settings.auth.api_key is None and settings.router_token is None
    if settings.auth.required and no_key:
        report.warnings.append(
            "auth.required is true and no key is set: only the owner's own link opens Portal"
        )
