"""Whatever is written down, reading it gives settings or a ConfigurationError, and nothing else."""

import datetime as dt
import json
import math
import re
import string
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import inspect

from portal.runtime.ops.exposure import is_loopback
from portal.runtime.ops.fields import Field, Key, dotted, fields, layout, single_keys, variable
from portal.runtime.ops.ollama_host import parse
from portal.runtime.ops.settings import load
from portal.runtime.ops.toml_text import toml_key, toml_value
from portal.shared.errors import ConfigurationError
from portal.shared.models import Capability

fuzz = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

NAMES = [variable(key) for key in single_keys()] + [
    "PORTAL_CONFIG",
    "PORTAL_ROUTER_TOKEN",
    "PORTAL_WORKSPACES__AUTO__MODEL",
    "PORTAL_WORKSPACES__A_B__TEMPERATURE",
    "PORTAL_WORKSPACES__",
    "PORTAL___",
    "PORTAL_",
    "OLLAMA_HOST",
    "HOME",
]
any_text = st.text(st.characters(exclude_categories=()))
json_text = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "kind", "url", "model"]) | st.text(), inner)
    ),
    max_leaves=8,
).map(json.dumps)
awkward = st.sampled_from(
    ["http://[", "//", "~", "~x", "$A", "0", "-1", "1e999", "[", '["a"]', "::", "a:b@c", "\0", "%"]
)


def settles(run: Callable[[], object]) -> None:
    """Run, and accept settings or one error of ours whose message can be printed."""
    try:
        run()
    except ConfigurationError as error:
        message = str(error)
        assert message.strip()
        message.encode()


@fuzz
@given(
    st.dictionaries(
        st.sampled_from(NAMES) | any_text | any_text.map("PORTAL_".__add__),
        any_text | json_text | awkward,
        max_size=6,
    )
)
def test_any_environment_is_read_or_refused(tmp_path: Path, environ: dict[str, str]) -> None:
    settles(lambda: load(environ={"HOME": str(tmp_path)} | environ, cwd=tmp_path))


def read_text(tmp_path: Path, name: str, raw: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        (Path(folder) / name).write_bytes(raw)
        settles(lambda: load(environ={"HOME": folder}, cwd=Path(folder)))


@fuzz
@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_in_either_file_are_read_or_refused(tmp_path: Path, raw: bytes) -> None:
    read_text(tmp_path, "portal.toml", raw)
    read_text(tmp_path, ".env", raw)


def toml(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{toml_key(k)} = {toml(v)}" for k, v in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(toml(item) for item in value) + "]"
        case float() if not math.isfinite(value):
            return str(value)
        case dt.date():
            return value.isoformat()
        case _:
            return toml_value(value)


keys = st.sampled_from(
    [part for key in single_keys() for part in key]
    + [name for struct in layout().tables.values() for name in fields(struct)]
    + [name for struct in layout().lists.values() for name in fields(struct)]
    + ["auto", "dynaconf_merge"]
) | st.text(max_size=4)
toml_values = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | awkward | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=10,
)


@fuzz
@given(st.dictionaries(keys, toml_values, max_size=4))
def test_any_toml_is_read_or_refused(tmp_path: Path, table: dict[str, Any]) -> None:
    text = "\n".join(f"{toml_key(name)} = {toml(value)}" for name, value in table.items())
    read_text(tmp_path, "portal.toml", text.encode("utf-8", "replace"))


@given(st.text())
def test_any_host_is_loopback_or_not(host: str) -> None:
    assert is_loopback(host) in (True, False)


line = st.text(
    st.characters(exclude_categories=("C", "Z"), include_characters=" "), min_size=1, max_size=20
).filter(lambda text: bool(text.strip()))
names = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)
tokens = st.text(string.ascii_letters + string.digits, min_size=1, max_size=30)
strong = st.uuids().map(lambda made: f"k-{made.hex}")
chat_capabilities = st.sampled_from([name for name in get_args(Capability) if name != "embedding"])
SPECIAL: dict[Key, st.SearchStrategy[Any]] = {
    ("router_token",): tokens,
    ("data_dir",): names.map(lambda name: Path("/srv/data") / name),
    ("state_dir",): names.map(lambda name: Path("/srv/state") / name),
    ("server", "host"): st.sampled_from(["127.0.0.1", "127.0.0.2", "::1", "localhost"]),
    ("server", "allowed_hosts"): st.lists(names.map("{}.lan".format), max_size=3).map(tuple),
    ("auth", "api_key"): strong,
    ("backends", "url"): names.map("https://{}:8000/v1".format),
    ("backends", "api_key"): tokens,
    ("backends", "name"): names.filter(lambda name: name != "embedded"),
    ("breaker", "recovery_seconds"): st.floats(0, 300, exclude_min=True),
    ("breaker", "max_recovery_seconds"): st.floats(15, allow_infinity=False),
    ("models", "name"): names.map("ollama/{}*".format),
    ("rules", "pattern"): line.map(re.escape),
    ("workspaces", "auto", "prefer"): st.lists(chat_capabilities, max_size=3).map(tuple),
    ("workspaces", "auto", "require"): st.lists(chat_capabilities, max_size=3).map(tuple),
}
NEEDS_A_FILE = {("backends", "ca_file")}
"""What `tests/test_settings_certificates.py` tries instead."""


def valid(key: Key, field: Field) -> st.SearchStrategy[Any]:
    """Values that the field allows, by its type; the few that need more are above."""
    if key in SPECIAL:
        return SPECIAL[key]
    match field.type:
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType(ge=low, le=high):
            largest = 2**31 - 1
            return st.integers(-largest if low is None else low, largest if high is None else high)
        case inspect.FloatType(ge=low, gt=above, le=high):
            least = low if low is not None else above
            return st.floats(least, high, exclude_min=above is not None, allow_infinity=False)
        case inspect.StrType(pattern=str()):
            return names
        case inspect.StrType():
            return line
        case inspect.LiteralType(values=allowed):
            return st.sampled_from(allowed)
        case inspect.CustomType():
            return names.map(lambda name: Path("/srv") / name)
        case inspect.VarTupleType(item_type=inspect.StrType()):
            return st.lists(line, max_size=3).map(tuple)
        case inspect.VarTupleType(item_type=inspect.LiteralType(values=allowed)):
            return st.lists(st.sampled_from(allowed), max_size=3).map(tuple)
    raise AssertionError(f"no values for {field!r}")


def flat() -> list[tuple[Key, Field]]:
    known = layout()
    found: list[tuple[Key, Field]] = [((name,), field) for name, field in known.plain.items()]
    for section, struct in known.sections.items():
        found += [((section, name), field) for name, field in fields(struct).items()]
    for section, struct in known.tables.items():
        found += [((section, "auto", name), field) for name, field in fields(struct).items()]
    return found


def as_variable(value: Any) -> str:
    if isinstance(value, tuple):
        return json.dumps(value)
    return value if isinstance(value, str) else json.dumps(value, default=str).strip('"')


def as_toml(key: Key, value: Any) -> str:
    return f"{dotted(key)} = {toml_value(value)}\n"


def find(value: Any, key: Key) -> Any:
    for part in key:
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    return value


@pytest.mark.parametrize(
    ("key", "field"), flat(), ids=lambda item: dotted(item) if isinstance(item, tuple) else ""
)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_value_arrives_equal_by_file_by_variable_and_by_dotenv(
    tmp_path: Path, key: Key, field: Field, data: st.DataObject
) -> None:
    value = data.draw(valid(key, field))
    environ = {"HOME": str(tmp_path)}
    config = tmp_path / "portal.toml"
    dotenv = tmp_path / ".env"
    config.write_text(as_toml(key, value), encoding="utf-8")
    dotenv.write_text("", encoding="utf-8")
    by_file = load(environ=environ, cwd=tmp_path)
    assert by_file.places[dotted(key)] == str(config)
    config.write_text("", encoding="utf-8")
    by_variable = load(environ=environ | {variable(key): as_variable(value)}, cwd=tmp_path)
    quoted = as_variable(value).replace("\\", "\\\\").replace("'", "\\'")
    dotenv.write_text(f"{variable(key)}='{quoted}'\n", encoding="utf-8")
    by_dotenv = load(environ=environ, cwd=tmp_path)
    if not (isinstance(value, tuple) and not value):
        assert by_variable.places[dotted(key)] == variable(key)
    assert find(by_file.settings, key) == value
    assert by_variable.settings == by_file.settings == by_dotenv.settings


def blocks(section: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Lists of tables with every required key and any of the others."""
    known = fields(layout().lists[section])
    values = {
        name: valid((section, name), field)
        for name, field in known.items()
        if (section, name) not in NEEDS_A_FILE
    }
    required = {name: values.pop(name) for name, field in known.items() if field.required}
    return st.lists(
        st.fixed_dictionaries(required, optional=values),
        max_size=3,
        unique_by=lambda block: block["name"],
    )


@pytest.mark.parametrize("section", layout().lists)
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_list_of_tables_arrives_equal_by_file_and_by_variable(
    tmp_path: Path, section: str, data: st.DataObject
) -> None:
    written = data.draw(blocks(section))
    environ = {"HOME": str(tmp_path)}
    config = tmp_path / "portal.toml"
    config.write_text(f"{section} = {toml(written)}\n", encoding="utf-8")
    by_file = load(environ=environ, cwd=tmp_path)
    config.write_text("", encoding="utf-8")
    by_variable = load(environ=environ | {variable((section,)): json.dumps(written)}, cwd=tmp_path)
    assert by_variable.settings == by_file.settings
    made = getattr(by_file.settings, section)
    found = [
        {name: getattr(item, name) for name in block}
        for item, block in zip(made, written, strict=True)
    ]
    assert found == written
    for block in written:
        for name in fields(layout().lists[section]):
            place = by_file.places[f"{section}[{block['name']}].{name}"]
            assert place == (str(config) if name in block else "default")


@given(names)
def test_a_host_name_of_ollama_keeps_its_name(name: str) -> None:
    assert parse(f"{name}.lan") == f"http://{name}.lan:11434"
