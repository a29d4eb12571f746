"""Personas: YAML files, each a virtual model with a way to speak.

Portal ships some; those in the user's own folder come beside them, and replace one of the same id.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import yaml

from portal.runtime.ops import schema
from portal.shared.errors import ConfigurationError
from portal.shared.model_list import PERSONA
from portal.shared.models import Persona

SHIPPED = Path(__file__).parent.parent / "personas"
SIZE_LIMIT = 64 * 1024
CHANNELS = ("telegram", "slack", "web", "cli", "api")


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file holds; its name without `.yaml` is the id."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    description: Annotated[str, msgspec.Meta(max_length=300)]
    system: Annotated[str, msgspec.Meta(min_length=1)]
    workspace: str = "auto"
    model: str | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    greeting: str = ""
    prompts: dict[str, str] = {}


def load_personas(own: Path) -> tuple[Persona, ...]:
    """Read the shipped ones and those of a folder, which need not exist; by id.

    Raises ConfigurationError naming the file, what was found and what would be right.
    """
    found: dict[str, Persona] = {}
    for folder, shipped in ((SHIPPED, True), (own, False)):
        for path in _files(folder):
            persona = _read(path, shipped=shipped)
            found[persona.id] = persona
    return tuple(found[name] for name in sorted(found))


def own_folder(settings: schema.Settings) -> Path:
    """Give the folder of the user's own personas.

    Raises ConfigurationError for one that is named and missing; the usual one need not exist.
    """
    named = settings.personas_dir
    if named is not None and not named.exists():
        raise ConfigurationError(
            f"personas_dir is {named}, which does not exist; make the folder, or leave it unset."
        )
    return named or settings.state_dir.parent / "personas"


def as_workspaces(
    personas: Sequence[Persona], profiles: Mapping[str, schema.Workspace]
) -> dict[str, schema.Workspace]:
    """Give each the settings of the workspace that it stands on, and its own on top.

    Raises ConfigurationError for a workspace that does not exist.
    """
    made = {}
    for persona in personas:
        ground = profiles.get(persona.workspace)
        if ground is None:
            known = ", ".join(profiles)
            raise ConfigurationError(
                f"The persona {persona.id!r} stands on the workspace {persona.workspace!r}, which "
                f"does not exist; there are {known}."
            )
        system = f"{ground.system}\n\n{persona.system}" if ground.system else persona.system
        made[PERSONA + persona.id] = msgspec.structs.replace(
            ground,
            description=persona.description,
            system=system,
            model=persona.model or ground.model,
            temperature=ground.temperature if persona.temperature is None else persona.temperature,
        )
    return made


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if each.suffix in (".yaml", ".yml"))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be read: {error.strerror}.") from error


def _read(path: Path, *, shipped: bool) -> Persona:
    try:
        name = msgspec.convert(path.stem, schema.Name)
    except msgspec.ValidationError:
        raise ConfigurationError(
            f"{path}: a persona's file is named by its id, of small letters, digits, `.`, `_` and "
            "`-`, at most 64."
        ) from None
    try:
        if path.stat().st_size > SIZE_LIMIT:
            raise ConfigurationError(f"{path} is larger than {SIZE_LIMIT // 1024} KiB.")
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        file = msgspec.convert(found, File)
    except ConfigurationError:
        raise
    except Exception as error:  # PyYAML raises whatever its constructors run into
        told = " ".join(str(error).split())
        raise ConfigurationError(f"{path} is no persona: {told}") from error
    unknown = sorted(set(file.prompts) - set(CHANNELS))
    if unknown:
        raise ConfigurationError(
            f"{path}: prompts has {unknown[0]!r}, expected {', '.join(CHANNELS)}."
        )
    return Persona(name, **msgspec.structs.asdict(file), shipped=shipped)
