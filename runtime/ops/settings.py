"""Portal's settings, read once: files, `.env`, environment and command line become one struct.

Precedence, weakest first: defaults, configuration file, `.env`, environment, command line.

dynaconf decides which source wins, and nothing else. Its own readers guess types (`123` becomes a
number), run `@format`, `@jinja` and `@int` markers, honour `dynaconf_merge` and `dynaconf_include`,
upper-case keys and take orders from `…_FOR_DYNACONF` variables; a secret has to survive as it was
typed, and a fault has to name the key as it was spelt. So it is given no file, no environment and
no loader. Every source goes in as a mapping from a tuple (which dynaconf keeps as it is, where it
would split and upper-case text) to an opaque `Entry` (of which it can interpret nothing), and the
winner of each key comes out. Types are decided by the schema, in `values.py`.

This is the only module that imports dynaconf, and it does so when called: the import alone reads
the environment.
"""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from portal.runtime.ops import files, schema
from portal.runtime.ops.assembly import Report, assemble
from portal.runtime.ops.exposure import check_exposure, is_loopback, key_required
from portal.runtime.ops.sources import (
    CONFIG_VARIABLE,
    Entry,
    Layer,
    Variables,
    from_file,
    from_overrides,
    from_variables,
)
from portal.shared.errors import ConfigurationError

__all__ = ["Loaded", "check_exposure", "is_loopback", "key_required", "load"]

_FILE = "portal.toml"
_FOLDER = ".portal"
_OLLAMA = "OLLAMA_HOST"
_MOST_FAULTS = 20


class Loaded(msgspec.Struct, frozen=True):
    """The settings, and the story of where they came from."""

    settings: schema.Settings
    path: Path | None
    """The configuration file, if there was one."""
    warnings: tuple[str, ...]
    places: Mapping[str, str]
    """Dotted key -> file, variable, `command line` or `default`; backends by `backends[<name>]`."""


def load(
    config: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Loaded:
    """Read, merge and validate all settings.

    `config` names the file, else PORTAL_CONFIG does; a named file must exist. Otherwise
    `./portal.toml` is read, or `~/.portal/portal.toml`, or none. A `.env` is taken from the working
    directory, or else from beside the file. `overrides` maps dotted keys to values of the command
    line; None means not given.

    Raises ConfigurationError with one line per fault.
    """
    report = Report()
    environ = os.environ if environ is None else environ
    cwd = _working_directory() if cwd is None else cwd.absolute()
    home = _home(environ, cwd)
    dotenv = _dotenv(cwd, cwd, report)
    path, table = _configuration(config, (environ, dotenv.values), cwd, home)
    if path is not None and not dotenv.prefix:
        dotenv = _dotenv(path.parent, cwd, report)
    variables = Variables(environ, cwd)
    layers: list[Layer] = []
    if path is not None:
        layers.append(from_file(table, files.shown(path, cwd), path, report.faults))
    for source in (dotenv, variables):
        below = [key for layer in layers for key in layer]
        layers.append(from_variables(source, below, report.faults, report.warnings))
    layers.append(from_overrides(overrides or {}, cwd, report.faults))
    settings = assemble(_winners(layers), _ollama(variables, dotenv), home, report)
    if settings is not None and not report.faults:
        check_exposure(settings)
        return Loaded(settings, path, tuple(report.warnings), report.places)
    more = len(report.faults) - _MOST_FAULTS
    lines = report.faults[:_MOST_FAULTS] + ([f"and {more} more"] if more > 0 else [])
    raise ConfigurationError("\n".join(lines))


def _winners(layers: Sequence[Layer]) -> Layer:
    """Let dynaconf decide, for each key, which layer wins; the last is the strongest."""
    from dynaconf.base import LazySettings

    merged = LazySettings(
        dynaconf_skip_loaders=True,
        dynaconf_skip_validators=True,
        load_dotenv=False,
        settings_files=[],
    )
    for layer in layers:
        merged.update(dict(layer), tomlfy=False, merge=False, dotted_lookup=False, validate=False)
    return {key: entry for key, entry in merged.items() if isinstance(entry, Entry)}


def _configuration(
    config: Path | None,
    variables: Sequence[Mapping[str, str]],
    cwd: Path,
    home: Path | None,
) -> tuple[Path | None, dict[str, Any]]:
    """Find and parse the configuration file."""
    named = "--config" if config is not None else CONFIG_VARIABLE
    given = next((found for values in variables if (found := values.get(CONFIG_VARIABLE))), None)
    if config is not None:
        places = [_expanded(str(config), cwd, home)]
    elif given:
        places = [_expanded(given, cwd, home)]
    else:
        named = ""
        places = [cwd / _FILE, *([home / _FOLDER / _FILE] if home else [])]
    for path in places:
        shown = files.shown(path, cwd)
        try:
            return path, files.parse_toml(files.read_text(path, shown), shown)
        except (FileNotFoundError, NotADirectoryError) as error:
            if named:
                raise ConfigurationError(
                    f"{shown} does not exist, expected the configuration file that {named} names"
                ) from error
    return None, {}


def _dotenv(folder: Path, cwd: Path, report: Report) -> Variables:
    """Read the folder's `.env`; nothing, without a prefix, when there is none.

    A directory of that name is somebody's virtual environment.
    """
    path = folder / ".env"
    shown = files.shown(path, cwd)
    try:
        if path.is_dir():
            return Variables({}, folder)
        values = _parse_dotenv(files.read_text(path, shown), shown, report.warnings)
    except (FileNotFoundError, NotADirectoryError):
        return Variables({}, folder)
    except OSError as error:
        raise ConfigurationError(f"{shown} cannot be read: {error.strerror}") from error
    return Variables(values, folder, prefix=f"{shown}: ", suffix=f" in {path}")


def _parse_dotenv(text: str, shown: str, warnings: list[str]) -> dict[str, str]:
    """Parse a `.env`; `${NAME}` stays as it is. Lines that make no sense are warned about."""
    from dynaconf.vendor.dotenv.parser import parse_stream

    values: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text)):  # type: ignore[no-untyped-call]  # no types
        if binding.error:
            read = binding.original.string
            blank = read[: len(read) - len(read.lstrip())]
            line = binding.original.line + len(blank.splitlines())
            warnings.append(f"{shown}: line {line} is no NAME=value and was passed over")
        elif binding.key and binding.value is not None:
            values[binding.key] = binding.value
    return values


def _ollama(*sources: Variables) -> Entry | None:
    for source in sources:
        if value := source.values.get(_OLLAMA):
            label, place = source.prefix + _OLLAMA, _OLLAMA + source.suffix
            return Entry(value, label, place, source.folder, text=True)
    return None


def _expanded(text: str, cwd: Path, home: Path | None) -> Path:
    if home is not None and (text == "~" or text.startswith("~/")):
        return home / text[2:]
    return cwd / text


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise ConfigurationError("the working directory does not exist any more") from error


def _home(environ: Mapping[str, str], cwd: Path) -> Path | None:
    """Find the home directory: HOME, else what the system says; None when nobody knows."""
    named = environ.get("HOME") or environ.get("USERPROFILE")
    if named is None:
        try:
            return Path.home()
        except RuntimeError:
            return None
    return cwd / named if named.isprintable() else None
