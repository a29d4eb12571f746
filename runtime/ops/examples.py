"""`portal.example.toml`, `.env.example` and the table of `docs/settings.md`, made from the schema.

`python -m portal.runtime.ops.examples` in the root of a checkout writes them anew; tests hold the
files to this module.
"""

import inspect
import json
from collections.abc import Mapping
from pathlib import Path

import msgspec

from portal.runtime.ops import schema
from portal.runtime.ops.explain import (
    SettingRow,
    default_text,
    docs,
    row,
    settings_rows,
    settings_table,
)
from portal.runtime.ops.fields import Field, Key, fields, is_choice, layout, variable, words
from portal.runtime.ops.toml_text import toml_value

BEGIN = "<!-- settings: begin -->"
END = "<!-- settings: end -->"
_EXAMPLES: Mapping[Key, str] = {
    ("backends", "name"): "vllm",
    ("backends", "kind"): "openai",
    ("backends", "url"): "http://192.168.1.20:8000",
    ("models", "name"): "ollama/qwen*",
    ("rules", "name"): "crashes",
    ("rules", "pattern"): "traceback|stack trace|segmentation fault",
    ("rules", "target"): "auto-coding",
    ("workspaces",): "auto-coding",
}
_OTHER_VARIABLES: Mapping[str, tuple[str, str]] = {
    "PORTAL_CONFIG": ("", "The configuration file; it must exist."),
    "OLLAMA_HOST": ("127.0.0.1:11434", "Adds the Ollama there as the backend `ollama`."),
}
_WIDTH = 96


def example_toml() -> str:
    """Write a configuration file with every setting at its default, commented out.

    Explanations begin with `# `, settings with `#` alone, so that uncommenting every setting
    gives a valid file.
    """
    known = layout()
    lines = [
        "# Portal's settings. Every line that begins with `#` and no space is a setting at its",
        "# default, or an example: take the `#` away to set it. Environment variables win over",
        "# this file. An empty text means unset.",
    ]
    lines += _example((), schema.Settings, known.plain)
    for section, struct in known.sections.items():
        lines += ["", *_wrapped(inspect.getdoc(struct)), f"[{section}]"]
        lines += _example((section,), struct, fields(struct))
    for section, struct in known.lists.items():
        lines += ["", *_wrapped(inspect.getdoc(struct)), "# One block for each.", f"#[[{section}]]"]
        lines += _example((section,), struct, fields(struct))
    for section, struct in known.tables.items():
        name = _EXAMPLES[section,]
        lines += [
            "",
            *_wrapped(inspect.getdoc(struct)),
            "# One table for each.",
            f"#[{section}.{name}]",
        ]
        lines += _example((section,), struct, fields(struct))
    return "\n".join(lines) + "\n"


def example_env() -> str:
    """Write a `.env` with every variable that Portal reads, commented out."""
    known = layout()
    lines = [
        "# Environment variables of Portal, for a `.env` in the directory that it is started from.",
        "# Every line that begins with `#` and no space is a variable at its default, or an",
        "# example: take the `#` away to set it. Real environment variables win over this file,",
        "# and both win over portal.toml. An empty value means unset.",
    ]
    for name, (value, doc) in _OTHER_VARIABLES.items():
        lines += ["", *_wrapped(doc), f"#{name}={value}"]
    for given in settings_rows():
        if given.section not in known.lists and given.section not in known.tables:
            lines += ["", *_wrapped(_told(given)), f"#{given.variable}={_env_value(given)}"]
    for section, struct in known.lists.items():
        item = {
            name: _EXAMPLES[section, name]
            for name, field in fields(struct).items()
            if field.required
        }
        doc = f"{inspect.getdoc(struct)} A JSON list; it replaces the ones of the file."
        lines += ["", *_wrapped(doc), f"#{variable((section,))}='{json.dumps([item])}'"]
    for section, struct in known.tables.items():
        name = _EXAMPLES[section,]
        lines += ["", *_wrapped(f"{inspect.getdoc(struct)} All at once, as JSON by id:")]
        lines += [f"#{variable((section,))}='{json.dumps({name: {}})}'"]
        for field in fields(struct).values():
            given = row((section, field.name), field, struct)
            lines += ["", *_wrapped(_told(given))]
            lines += [f"#{variable((section, name, field.name))}={_env_value(given)}"]
    return "\n".join(lines) + "\n"


def _example(key: Key, struct: type[msgspec.Struct], known: Mapping[str, Field]) -> list[str]:
    lines: list[str] = []
    for name, field in known.items():
        path = (*key, name)
        value = toml_value(_EXAMPLES[path]) if path in _EXAMPLES else default_text(path, field)
        doc = docs()[struct.__name__].get(name, "")
        if not value:
            doc += f" ({words(field.type)}; unset)"
            value = '""'
        elif is_choice(field.type):
            doc += f" ({words(field.type)})"
        lines += ["", *_wrapped(doc), f"#{name} = {value}"]
    return lines


def _told(given: SettingRow) -> str:
    return f"{given.doc} ({given.type})" if given.choice else given.doc


def _env_value(given: SettingRow) -> str:
    if not given.default:
        return ""
    value = json.loads(given.default)
    if isinstance(value, list):
        return ",".join(value)
    return value if isinstance(value, str) else given.default


def _wrapped(text: str | None) -> list[str]:
    lines, line = [], "#"
    for word in (text or "").split():
        if len(line) + 1 + len(word) > _WIDTH:
            lines.append(line)
            line = "#"
        line += f" {word}"
    return [*lines, line]


def with_table(page: str) -> str:
    """Put the table of settings between the markers of a Markdown page."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{settings_table()}\n{END}{after}"


def write(root: Path) -> None:
    """Write the three files of a checkout anew."""
    (root / "portal.example.toml").write_text(example_toml(), encoding="utf-8")
    (root / ".env.example").write_text(example_env(), encoding="utf-8")
    page = root / "docs" / "settings.md"
    page.write_text(with_table(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write(Path.cwd())
