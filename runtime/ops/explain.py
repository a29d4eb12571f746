"""The settings, told: rows, a table, a JSON Schema, and what is in effect.

Everything is made from the schema and the docstrings under its fields, so that documentation
cannot disagree with the code. No secret leaves this module.
"""

import ast
import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import msgspec

from portal.runtime.ops import schema
from portal.runtime.ops.fields import (
    Field,
    Key,
    dotted,
    fields,
    is_choice,
    item_key,
    layout,
    limits,
    noun,
    variable,
)
from portal.runtime.ops.settings import Loaded
from portal.runtime.ops.toml_text import toml_key, toml_value

MASK = "****"
DEFAULTS: Mapping[Key, str] = {
    ("data_dir",): "~/.portal/data",
    ("state_dir",): "~/.portal/state",
}


class SettingRow(msgspec.Struct, frozen=True):
    """One setting, in words."""

    key: str
    """`server.port`, `backends[].url`, `workspaces.<id>.model`."""
    section: str
    """`server`, `backends`; empty at the top of the file."""
    variable: str
    """The environment variable that sets it, or the list it is in."""
    type: str
    choice: bool
    """Whether a few words alone are allowed, which `type` lists."""
    bounds: str
    default: str
    """As TOML; empty where there is none."""
    doc: str
    secret: bool
    required: bool


def settings_rows() -> list[SettingRow]:
    """List every setting, in the order of the schema."""
    known = layout()
    rows = [row((name,), field, schema.Settings) for name, field in known.plain.items()]
    for section, struct in known.sections.items():
        rows += [row((section, name), field, struct) for name, field in fields(struct).items()]
    for section, struct in (*known.lists.items(), *known.tables.items()):
        rows += [row((section, name), field, struct) for name, field in fields(struct).items()]
    return rows


def json_schema() -> bytes:
    """Describe the configuration file as a JSON Schema, for editors."""
    made = msgspec.json.schema(schema.Settings, schema_hook=lambda _: {"type": "string"})
    for name, part in made["$defs"].items():
        documented = docs().get(name, {})
        for field, described in part["properties"].items():
            if "$ref" in described:
                described.pop("default", None)
            if field in documented:
                described["description"] = documented[field]
    settings = made["$defs"][schema.Settings.__name__]
    settings.pop("required", None)
    for key, default in DEFAULTS.items():
        settings["properties"][key[0]]["default"] = default
    made = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | made
    return msgspec.json.format(msgspec.json.encode(made), indent=2)


def show(loaded: Loaded) -> str:
    """Write all settings in effect as TOML, each with its place; a secret is `****`."""
    known, places = layout(), loaded.places
    lines = [f"# configuration file: {_comment(str(loaded.path or 'none'))}"]
    lines += _shown(loaded.settings, "", known.plain, places)
    for section, struct in known.sections.items():
        lines += ["", f"[{section}]"]
        lines += _shown(getattr(loaded.settings, section), section, fields(struct), places)
    for section, struct in known.lists.items():
        for number, item in enumerate(getattr(loaded.settings, section), 1):
            key = item_key(section, item.name, number)
            lines += ["", f"[[{section}]]  # {_comment(places.get(key, ''))}"]
            lines += _shown(item, key, fields(struct), places)
    for section, struct in known.tables.items():
        for name, item in getattr(loaded.settings, section).items():
            lines += ["", f"[{section}.{toml_key(name)}]"]
            lines += _shown(item, f"{section}.{name}", fields(struct), places)
    return "\n".join(lines) + "\n"


def settings_table() -> str:
    """Write every setting as Markdown, one table for each section of the file."""
    titles = {section: f"`[{section}]`" for section in layout().sections}
    titles |= {section: f"`[[{section}]]`" for section in layout().lists}
    titles |= {section: f"`[{section}.<id>]`" for section in layout().tables}
    lines: list[str] = []
    last = None
    for given in settings_rows():
        if given.section != last:
            title = titles.get(given.section, "Top of the file")
            lines += [
                "",
                f"### {title}",
                "",
                "| setting | environment | type | default | meaning |",
            ]
            lines += ["|---|---|---|---|---|"]
            last = given.section
        kind = f"{given.type} {given.bounds}".rstrip()
        default = (
            f"`{given.default}`" if given.default else ("required" if given.required else "unset")
        )
        cells = (f"`{given.key}`", f"`{given.variable}`", kind, default, given.doc)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines[1:]) + "\n"


@cache
def docs() -> Mapping[str, Mapping[str, str]]:
    """Read the docstring under each field of the schema: struct name -> field name -> text."""
    tree = ast.parse(inspect.getsource(schema))
    return {node.name: dict(_docs(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _docs(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for before, after in zip(node.body, node.body[1:], strict=False):
        match before, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str() as text)),
            ):
                yield name, inspect.cleandoc(text)


def row(key: Key, field: Field, struct: type[msgspec.Struct]) -> SettingRow:
    """Describe one field; `key` is its section and name."""
    known = layout()
    named, env = dotted(key), variable(key)
    if key[0] in known.lists:
        named, env = f"{key[0]}[].{key[1]}", variable(key[:1])
    elif key[0] in known.tables:
        named, env = f"{key[0]}.<id>.{key[1]}", f"{variable(key[:1])}__<ID>__{key[1].upper()}"
    return SettingRow(
        key=named,
        section=key[0] if len(key) > 1 else "",
        variable=env,
        type=noun(field.type),
        choice=is_choice(field.type),
        bounds=limits(field.type),
        default=default_text(key, field),
        doc=docs()[struct.__name__].get(field.name, ""),
        secret=field.secret,
        required=field.required and key not in DEFAULTS,
    )


def default_text(key: Key, field: Field) -> str:
    """Write a field's default as TOML; empty where it has none."""
    if key in DEFAULTS:
        return toml_value(DEFAULTS[key])
    return "" if field.default is None else toml_value(field.default)


def _shown(
    value: Any, section: str, known: Mapping[str, Field], places: Mapping[str, str]
) -> Iterator[str]:
    for name, field in known.items():
        key = f"{section}.{name}" if section else name
        item, place = getattr(value, name), _comment(places.get(key, "default"))
        if item is None:
            yield f"# {name} is not set"
        else:
            yield f"{name} = {toml_value(MASK if field.secret else item)}  # {place}"


def _comment(text: str) -> str:
    return text if text.isprintable() else ascii(text)[1:-1]
