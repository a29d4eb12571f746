"""The example files, the documentation and the code say the same about every setting."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from portal.runtime.ops import examples, explain, schema
from portal.runtime.ops.fields import fields, layout
from portal.runtime.ops.settings import load

ROOT = Path(__file__).parent.parent
ANEW = "out of date: run `python -m portal.runtime.ops.examples` in the root of the checkout"
KEY = "Zk3-Qp9_vT7xLm2wRb5n"
EXAMPLES: dict[str, Any] = {
    "backends": (schema.Backend(name="vllm", kind="openai", url="http://192.168.1.20:8000"),),
    "models": (schema.ModelFacts(name="ollama/qwen*"),),
    "rules": (
        schema.Rule(
            name="crashes",
            pattern="traceback|stack trace|segmentation fault",
            target="auto-coding",
        ),
    ),
    "workspaces": {"auto-coding": schema.Workspace()},
}
"""What the lists and tables of the example files are, once taken up."""


def uncommented(text: str) -> str:
    return re.sub(r"(?m)^#(?! )", "", text)


def defaults(home: Path, **changed: object) -> schema.Settings:
    plain = schema.Settings(data_dir=home / ".portal/data", state_dir=home / ".portal/state")
    return msgspec.structs.replace(plain, **changed)


def structs() -> list[type[msgspec.Struct]]:
    known = layout()
    inner = [*known.sections.values(), *known.lists.values(), *known.tables.values()]
    return [schema.Settings, *inner]


def test_the_example_files_and_the_table_are_up_to_date() -> None:
    example = (ROOT / "portal.example.toml").read_text(encoding="utf-8")
    assert example == examples.example_toml(), ANEW
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == examples.example_env(), ANEW
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page == examples.with_table(page), ANEW


def test_the_example_file_is_valid_as_it_is_and_with_every_setting_taken_up(
    tmp_path: Path,
) -> None:
    config = tmp_path / "portal.toml"
    config.write_text(examples.example_toml(), encoding="utf-8")
    assert load(environ={"HOME": str(tmp_path)}, cwd=tmp_path).settings == defaults(tmp_path)
    text = uncommented(examples.example_toml())
    config.write_text(text, encoding="utf-8")
    loaded = load(environ={"HOME": str(tmp_path)}, cwd=tmp_path)
    assert loaded.warnings == ()
    assert loaded.settings == defaults(tmp_path, **EXAMPLES)
    table = tomllib.loads(text)
    assert set(table) == set(layout().names())
    for name, struct in layout().sections.items():
        assert set(table[name]) == set(fields(struct))
    for name, struct in layout().lists.items():
        assert [set(item) for item in table[name]] == [set(fields(struct))]
    for name, struct in layout().tables.items():
        assert [set(item) for item in table[name].values()] == [set(fields(struct))]


def test_the_example_dotenv_is_valid_as_it_is_and_with_every_variable_taken_up(
    tmp_path: Path,
) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text(examples.example_env(), encoding="utf-8")
    assert load(environ={"HOME": str(tmp_path)}, cwd=tmp_path).settings == defaults(tmp_path)
    dotenv.write_text(uncommented(examples.example_env()), encoding="utf-8")
    loaded = load(environ={"HOME": str(tmp_path)}, cwd=tmp_path)
    assert loaded.warnings == ()
    ollama = schema.Backend(name="ollama", kind="ollama", url="http://127.0.0.1:11434")
    backends = (*EXAMPLES["backends"], ollama)
    assert loaded.settings == defaults(tmp_path, **EXAMPLES | {"backends": backends})


def test_every_setting_has_a_sentence_and_a_row() -> None:
    rows = explain.settings_rows()
    fields_of_schema = sum(len(fields(struct)) for struct in structs())
    containers = len(layout().sections) + len(layout().lists) + len(layout().tables)
    assert len(rows) == len({row.key for row in rows}) == fields_of_schema - containers
    for row in rows:
        assert row.doc.endswith("."), row.key
        assert row.type, row.key
        assert not (row.secret and row.default), row.key
    assert all(struct.__doc__ for struct in structs())


def test_the_json_schema_describes_every_setting() -> None:
    made = json.loads(explain.json_schema())
    assert "required" not in made["$defs"]["Settings"]
    assert made["$defs"]["Backend"]["required"] == ["name", "kind", "url"]
    for struct in structs():
        described = made["$defs"][struct.__name__]
        assert described["additionalProperties"] is False
        assert list(described["properties"]) == list(fields(struct))
        for name, field in explain.docs()[struct.__name__].items():
            assert described["properties"][name]["description"] == field
    port = made["$defs"]["Server"]["properties"]["port"]
    assert (port["minimum"], port["maximum"], port["default"]) == (0, 65535, 8081)


def test_what_is_in_effect_is_shown_with_its_place_and_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "portal.toml").write_text(
        f'router_token = "{KEY}1"\n[server]\nport = 9000\n'
        '[workspaces."a.b"]\nsystem = "two\\nlines \\u007f \\""\n',
        encoding="utf-8",
    )
    backends = f'[{{"name": "v", "kind": "openai", "url": "http://v", "api_key": "{KEY}2"}}]'
    environ = {
        "HOME": str(tmp_path),
        "PORTAL_AUTH__API_KEY": f"{KEY}3",
        "PORTAL_BACKENDS": backends,
    }
    loaded = load(environ=environ, cwd=tmp_path)
    text = explain.show(loaded)
    for part in (KEY, KEY[:4], KEY[-4:]):
        assert part not in text
    assert f"port = 9000  # {tmp_path / 'portal.toml'}\n" in text
    assert 'api_key = "****"  # PORTAL_AUTH__API_KEY\n' in text
    assert "max_header_bytes = 65536  # default\n" in text
    assert "# model_path is not set\n" in text
    table = tomllib.loads(text)
    assert table["backends"][0]["api_key"] == "****"
    assert table["workspaces"]["a.b"]["system"] == 'two\nlines \x7f "'
    assert set(loaded.places.values()) == {
        "default",
        str(tmp_path / "portal.toml"),
        "PORTAL_AUTH__API_KEY",
        "PORTAL_BACKENDS",
    }


def test_a_secret_that_is_not_set_is_not_shown_as_if_it_were(tmp_path: Path) -> None:
    assert "****" not in explain.show(load(environ={"HOME": str(tmp_path)}, cwd=tmp_path))


@pytest.mark.parametrize(
    "block",
    re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "settings.md").read_text("utf-8"), re.DOTALL),
)
def test_the_examples_of_the_page_load(tmp_path: Path, block: str) -> None:
    (tmp_path / "portal.toml").write_text(block, encoding="utf-8")
    load(environ={"HOME": str(tmp_path), "PORTAL_AUTH__API_KEY": KEY}, cwd=tmp_path)


def test_the_container_example_of_the_page_loads(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    value = re.findall(r"(?m)^PORTAL_BACKENDS='(.*)'$", page)[0]
    environ = {"HOME": str(tmp_path), "PORTAL_BACKENDS": value}
    assert load(environ=environ, cwd=tmp_path).settings.backends[0].name == "vllm"
