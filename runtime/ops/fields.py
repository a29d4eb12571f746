"""The settings schema as data: every field with its names, its type in words and its default.

Owns how a setting is called (dotted key, environment variable) and how its type is worded for
people. Reads `schema.py` only; no file and no environment.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
from msgspec import inspect

from portal.runtime.ops import schema

PREFIX = "PORTAL_"
_LONGEST_NAME = 200
ALIASES: Mapping[tuple[str, ...], str] = {("router_token",): "ROUTER_TOKEN"}
"""Settings that go by an older name in the environment, beside `PORTAL_…`."""

Key = tuple[str, ...]
"""The path of a setting, `("server", "port")`; no dotted text, since ids may hold dots."""


class Field(msgspec.Struct, frozen=True):
    """One field of one struct of the schema."""

    name: str
    annotation: Any
    """What msgspec converts to."""
    type: inspect.Type
    """The type without None."""
    optional: bool
    """Whether None is allowed, which an empty text means too."""
    secret: bool
    required: bool
    default: Any


class Layout(msgspec.Struct, frozen=True):
    """What lies at the top of a configuration file."""

    plain: Mapping[str, Field]
    """`data_dir = …`"""
    sections: Mapping[str, type[msgspec.Struct]]
    """`[server]`"""
    lists: Mapping[str, type[msgspec.Struct]]
    """`[[backends]]`"""
    tables: Mapping[str, type[msgspec.Struct]]
    """`[workspaces.<id>]`"""

    def names(self) -> tuple[str, ...]:
        """List every key allowed at the top of a file."""
        return (*self.plain, *self.sections, *self.lists, *self.tables)


@cache
def fields(struct: type[msgspec.Struct]) -> Mapping[str, Field]:
    """Describe the fields of one struct of the schema, in their order."""
    described = inspect.type_info(struct)
    if not isinstance(described, inspect.StructType):
        raise TypeError(f"{struct!r} is no struct")
    hints = get_type_hints(struct, include_extras=True)
    return {
        field.name: Field(
            name=field.name,
            annotation=hints[field.name],
            type=_without_none(field.type),
            optional=_without_none(field.type) is not field.type,
            secret=schema.is_secret(hints[field.name]),
            required=field.required,
            default=_default(field),
        )
        for field in described.fields
    }


@cache
def layout() -> Layout:
    """Sort the fields of `schema.Settings` by how a file writes them."""
    plain: dict[str, Field] = {}
    sections: dict[str, type[msgspec.Struct]] = {}
    lists: dict[str, type[msgspec.Struct]] = {}
    tables: dict[str, type[msgspec.Struct]] = {}
    for name, field in fields(schema.Settings).items():
        match field.type:
            case inspect.StructType(cls=struct):
                sections[name] = struct
            case inspect.VarTupleType(item_type=inspect.StructType(cls=struct)):
                lists[name] = struct
            case inspect.DictType(value_type=inspect.StructType(cls=struct)):
                tables[name] = struct
            case _:
                plain[name] = field
    return Layout(plain, sections, lists, tables)


@cache
def single_keys() -> tuple[Key, ...]:
    """List the keys that one variable sets: fields of sections, and whole lists and tables."""
    known = layout()
    keys: list[Key] = [(name,) for name in known.plain]
    for section, struct in known.sections.items():
        keys += [(section, name) for name in fields(struct)]
    keys += [(name,) for name in (*known.lists, *known.tables)]
    return tuple(keys)


def dotted(key: Key) -> str:
    """Write a key as people do: `server.port`."""
    return ".".join(key)


def variable(key: Key) -> str:
    """Name the environment variable of a key, as the documentation lists it."""
    return ALIASES.get(key) or PREFIX + "__".join(key).upper().replace("-", "_")


def item_key(section: str, name: object, number: int) -> str:
    """Write the key of one table of a list: by its name where that is fit to print."""
    fit = isinstance(name, str) and name.isprintable() and 0 < len(name) <= _LONGEST_NAME
    return f"{section}[{name}]" if fit else f"{section}[#{number}]"


def words(kind: inspect.Type) -> str:
    """Say in words what a type allows, its limits included: `a whole number from 0 to 65535`."""
    return f"{noun(kind)} {limits(kind)}".rstrip()


def is_choice(kind: inspect.Type) -> bool:
    """Tell whether a type allows a few words alone, or a list of them."""
    inner = kind.item_type if isinstance(kind, inspect.VarTupleType) else kind
    return isinstance(inner, inspect.LiteralType)


def noun(kind: inspect.Type) -> str:
    """Name a type in words."""
    match kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return "a whole number"
        case inspect.FloatType():
            return "a number"
        case inspect.StrType():
            return "a name" if kind.pattern else "text"
        case inspect.LiteralType():
            *others, last = (f'"{value}"' for value in kind.values)
            return f"{', '.join(others)} or {last}" if others else last
        case inspect.CustomType(cls=cls) if cls is Path:
            return "a path"
        case inspect.VarTupleType(item_type=inspect.StrType()):
            return "a list of texts"
        case inspect.VarTupleType(item_type=inspect.LiteralType() as item):
            return f"a list of {noun(item)}"
        case inspect.VarTupleType(item_type=inspect.StructType()):
            return "a list of tables"
        case inspect.DictType() | inspect.StructType():
            return "a table"
        case _:
            raise TypeError(f"no words for {kind!r}: add them here")


def limits(kind: inspect.Type) -> str:
    """Say in words what bounds a type; empty when nothing does."""
    match kind:
        case inspect.StrType(pattern=str()):
            return "of small letters, digits, `.`, `_` and `-`, at most 64, no mark first"
        case inspect.IntType(ge=low, le=high) | inspect.FloatType(ge=low, le=high) if (
            low is not None and high is not None
        ):
            return f"from {low:.15g} to {high:.15g}"
        case inspect.IntType() | inspect.FloatType():
            bounds = (("above", kind.gt), ("≥", kind.ge), ("below", kind.lt), ("≤", kind.le))
            known = (f"{word} {bound:.15g}" for word, bound in bounds if bound is not None)
            return " and ".join(known)
        case _:
            return ""


def _without_none(kind: inspect.Type) -> inspect.Type:
    if not isinstance(kind, inspect.UnionType):
        return kind
    rest = [item for item in kind.types if not isinstance(item, inspect.NoneType)]
    if len(rest) != 1:
        raise TypeError(f"a setting has one type, or none: {kind!r}")
    return rest[0]


def _default(field: inspect.Field) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return None if field.default is msgspec.NODEFAULT else field.default
