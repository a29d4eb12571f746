"""What every model name means, answered from memory.

Rebuilt whenever a backend was asked for its models; in between, nothing here waits or changes.
"""

import difflib
from collections.abc import Mapping, Sequence

from portal.runtime.backends.backend import Backend
from portal.runtime.ops import schema
from portal.shared.errors import InvalidRequest, UnknownModel
from portal.shared.models import Model, Target, Workspace

AUTO = Workspace("auto", "The best model that is live, chosen for each question.")


class Registry:
    """Models, workspaces and names of one configuration."""

    def __init__(
        self, backends: Sequence[Backend], workspaces: Mapping[str, schema.Workspace]
    ) -> None:
        self.backends = {backend.name: backend for backend in backends}
        self.settings = dict(workspaces)
        self._workspaces = _workspaces(workspaces)
        self._models: tuple[Model, ...] = ()
        self._targets: dict[str, Target] = {}
        self._ambiguous: dict[str, list[str]] = {}
        self.rebuild()

    def rebuild(self) -> None:
        """Take in what the backends know now."""
        self._models = tuple(
            model for backend in self.backends.values() for model in backend.models()
        )
        targets: dict[str, Target] = {}
        short: dict[str, list[Model]] = {}
        for model in self._models:
            targets[model.id] = _target(model.id, model)
            for name in _short_names(model):
                short.setdefault(name, []).append(model)
        self._ambiguous = {}
        for name, models in short.items():
            found = {model.id: model for model in models}
            if len(found) > 1:
                # What a dead backend once had does not stand in the way of a live one.
                live = {i: m for i, m in found.items() if self.backends[m.backend].available}
                found = live if len(live) == 1 else found
            if len(found) == 1:
                targets.setdefault(name, _target(name, next(iter(found.values()))))
            else:
                self._ambiguous[name] = list(found)
        for workspace in self._workspaces:
            targets[workspace.id] = Target(workspace.id, workspace)
        self._targets = targets

    def models(self) -> Sequence[Model]:
        return self._models

    def workspaces(self) -> Sequence[Workspace]:
        return self._workspaces

    def resolve(self, name: str) -> Target:
        found = self._targets.get(name)
        if found is not None:
            return found
        backend_name, slash, rest = name.partition("/")
        backend = self.backends.get(backend_name)
        if slash and rest and backend is not None:
            # Not listed, yet addressed plainly: the backend is the judge of what it has.
            return Target(name, backend=backend_name, model=rest, kind=backend.kind)
        if name in self._ambiguous:
            raise InvalidRequest(
                f"The model {name!r} is on several backends; write one of "
                f"{', '.join(self._ambiguous[name])}.",
                param="model",
            )
        near = difflib.get_close_matches(name, self._targets, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UnknownModel(
            f"The model {name[:200]!r} does not exist here.{hint} GET /v1/models lists what does.",
            param="model",
        )


def _workspaces(settings: Mapping[str, schema.Workspace]) -> tuple[Workspace, ...]:
    found = {AUTO.id: AUTO}
    for name, workspace in settings.items():
        default = found.get(name)
        description = workspace.description or (default.description if default else name)
        found[name] = Workspace(name, description)
    return tuple(found.values())


def _target(name: str, model: Model) -> Target:
    return Target(name, backend=model.backend, model=model.name, kind=model.kind)


def _short_names(model: Model) -> tuple[str, ...]:
    """A model's own name; Ollama's `:latest` may be left out, as in its own client."""
    if model.kind == "ollama" and model.name.endswith(":latest"):
        return (model.name, model.name.removesuffix(":latest"))
    return (model.name,)
