"""Where settings are written down: a TOML file, a `.env`, the environment, the command line.

Owns telling known keys from unknown ones. Every source becomes a `Layer`: the keys it sets, each
value as it stands there. No value is interpreted here.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from portal.runtime.ops.checks import kind_of, shown_key
from portal.runtime.ops.fields import (
    ALIASES,
    PREFIX,
    Key,
    dotted,
    fields,
    layout,
    single_keys,
    variable,
)

CONFIG_VARIABLE = "PORTAL_CONFIG"


class Entry(msgspec.Struct, frozen=True):
    """One value as it was written, and where."""

    value: Any
    label: str
    """How a fault names it: `portal.toml: server.port`, `PORTAL_SERVER__PORT`."""
    place: str
    """Its source for `config show`: a path, a variable's name, `command line`."""
    folder: Path
    """Where a relative path in it starts."""
    text: bool = False
    """Whether the value is text, to be converted by the type of its field."""


Layer = dict[Key, Entry]


class Variables(msgspec.Struct, frozen=True):
    """Environment variables of one source: the process's own, or those of a `.env`."""

    values: Mapping[str, str]
    folder: Path
    prefix: str = ""
    """Put before a variable's name in faults: `.env: `."""
    suffix: str = ""
    """Put after a variable's name in places: ` in /home/me/.env`."""


def from_file(table: Mapping[str, Any], shown: str, path: Path, faults: list[str]) -> Layer:
    """Turn a parsed file into a layer; unknown keys and misplaced values become faults."""
    layer: Layer = {}
    known = layout()

    def put(key: Key, value: object) -> None:
        layer[key] = Entry(value, f"{shown}: {shown_key(key)}", str(path), path.parent)

    def unknown(key: Key, allowed: Sequence[str]) -> None:
        faults.append(f"{shown}: unknown key {shown_key(key)}; {hint(key, allowed)}")

    def put_section(key: Key, struct: Any, value: object) -> None:
        if not isinstance(value, dict):
            faults.append(f"{shown}: {shown_key(key)} is {kind_of(value)}, expected a table")
            return
        for name, item in value.items():
            if name in fields(struct):
                put((*key, name), item)
            else:
                unknown((*key, name), tuple(fields(struct)))

    for name, value in table.items():
        if name in known.plain or name in known.lists:
            put((name,), value)
        elif name in known.sections:
            put_section((name,), known.sections[name], value)
        elif name not in known.tables:
            unknown((name,), known.names())
        elif not isinstance(value, dict):
            faults.append(f"{shown}: {name} is {kind_of(value)}, expected a table of tables")
        else:
            for item, inner in value.items():
                put((name, item), {})
                put_section((name, item), known.tables[name], inner)
    return layer


def from_variables(
    source: Variables, below: Iterable[Key], faults: list[str], warnings: list[str]
) -> Layer:
    """Turn environment variables into a layer; unknown `PORTAL_…` names become warnings.

    `below` are the keys of the layers underneath, whose table ids a variable may mean. An empty
    variable counts as unset, since that is how compose files and shells pass "nothing".
    """
    layer: Layer = {}
    below = tuple(below)
    known = {variable(key): key for key in single_keys()}
    known |= {PREFIX + dotted(key).upper(): key for key in ALIASES}
    # `PORTAL_ROUTER_TOKEN` after `ROUTER_TOKEN`, `PORTAL_WORKSPACES__…` after `PORTAL_WORKSPACES`:
    # the closer name is put last, and wins.
    for name in sorted(source.values, key=lambda name: (name.startswith(PREFIX), name)):
        if name == CONFIG_VARIABLE or not (name in known or name.startswith(PREFIX)):
            continue
        key = known.get(name) or _table_key(name, below)
        if key is None:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            hint = f"; did you mean {near[0]}?" if near else ""
            warnings.append(f"{source.prefix}unknown variable {shown_key((name,))}{hint}")
        elif source.values[name].strip():
            layer |= _from_variable(source, name, key, faults)
    return layer


def from_overrides(values: Mapping[str, object], folder: Path, faults: list[str]) -> Layer:
    """Turn dotted keys from the command line into a layer; None means that it was not given."""
    layer: Layer = {}
    known = {dotted(key): key for key in single_keys()}
    for name, value in values.items():
        label = f"command line: {name}"
        if name not in known:
            faults.append(f"command line: unknown key {shown_key((name,))}")
        elif value is not None:
            layer[known[name]] = Entry(
                value, label, "command line", folder, text=isinstance(value, str)
            )
    return layer


def _from_variable(source: Variables, name: str, key: Key, faults: list[str]) -> Layer:
    value, label = source.values[name], source.prefix + name
    entry = Entry(value, label, name + source.suffix, source.folder, text=True)
    if key[0] not in layout().tables:
        return {key: entry}
    if len(key) > 1:
        return {key[:-1]: msgspec.structs.replace(entry, value={}, text=False), key: entry}
    try:
        table = msgspec.json.decode(value)
    except (ValueError, RecursionError):
        table = None
    if not isinstance(table, dict):
        faults.append(f"{label} is {kind_of(value)}, expected a JSON object of tables by id")
        return {}
    inner = from_file({key[0]: table}, label, source.folder / name, faults)
    return {
        path: msgspec.structs.replace(found, place=entry.place) for path, found in inner.items()
    }


def _table_key(name: str, below: Sequence[Key]) -> Key | None:
    """Read `PORTAL_WORKSPACES__AUTO_CODING__MODEL`, where `_` stands for any mark of the id."""
    for table, struct in layout().tables.items():
        head = f"{PREFIX}{table.upper()}__"
        written, _, field = name.removeprefix(head).rpartition("__")
        if not (name.startswith(head) and written and field.isupper()):
            continue
        if field.lower() in fields(struct):
            ids = [key[1] for key in below if key[0] == table and len(key) > 1]
            plain = written.lower()
            alike = (item for item in ids if _hyphened(item) == _hyphened(plain))
            item = plain if plain in ids else next(alike, _hyphened(plain))
            return table, item, field.lower()
    return None


def _hyphened(item: str) -> str:
    return item.replace("_", "-").replace(".", "-")


def hint(key: Key, allowed: Sequence[str]) -> str:
    """Name the key that was probably meant: a neighbour, or the same name elsewhere."""
    name = key[-1].lower().replace("-", "_")
    near = difflib.get_close_matches(name, allowed, n=1, cutoff=0.6)
    if near:
        return f"did you mean {shown_key((*key[:-1], near[0]))}?"
    names = {other[-1] for other in single_keys()}
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.75)
    elsewhere = [dotted(other) for other in single_keys() if other[-1] in near]
    if elsewhere:
        return f"did you mean {' or '.join(elsewhere)}?"
    return f"allowed here: {', '.join(allowed)}"
