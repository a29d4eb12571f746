"""The workspaces that ship with Portal, and what the settings make of them. Pure."""

from collections.abc import Mapping

import msgspec

from portal.runtime.ops import schema
from portal.shared.models import Workspace

AUTO = "auto"
SHIPPED: Mapping[str, schema.Workspace] = {
    AUTO: schema.Workspace(description="The best model that is live, chosen for each question."),
    "auto-coding": schema.Workspace(
        description="For code: a model that is good at it.", prefer=("code",), temperature=0.2
    ),
    "auto-reasoning": schema.Workspace(
        description="For hard questions: a model that thinks first, however long it takes.",
        prefer=("reasoning",),
        strategy="quality",
    ),
    "auto-fast": schema.Workspace(
        description="For quick answers: the fastest model that will do.", strategy="speed"
    ),
    "auto-vision": schema.Workspace(
        description="For pictures: a model that can see.", require=("vision",)
    ),
}


def profiles(settings: Mapping[str, schema.Workspace]) -> dict[str, schema.Workspace]:
    """Lay the settings over what ships: a field that they leave alone keeps its shipped value."""
    found = dict(SHIPPED)
    for name, given in settings.items():
        shipped = SHIPPED.get(name)
        found[name] = given if shipped is None else _over(given, shipped)
    return found


def listed(found: Mapping[str, schema.Workspace]) -> tuple[Workspace, ...]:
    """Give them as the model list shows them."""
    return tuple(
        Workspace(name, profile.description or profile.model or name)
        for name, profile in found.items()
    )


def _over(given: schema.Workspace, shipped: schema.Workspace) -> schema.Workspace:
    plain = schema.Workspace()
    changed = {
        name: value
        for name in schema.Workspace.__struct_fields__
        if (value := getattr(given, name)) != getattr(plain, name)
    }
    return msgspec.structs.replace(shipped, **changed)
