"""What every model name means, answered from memory.

Rebuilt whenever a backend was asked for its models; in between, nothing here waits or changes.
"""

import difflib
from collections.abc import Sequence

import msgspec

from portal.runtime.backends.backend import Backend
from portal.runtime.hints.hints import complete, matches
from portal.runtime.ops import schema
from portal.runtime.routing.personas import as_workspaces
from portal.runtime.routing.workspaces import listed, profiles
from portal.runtime.windows.num_ctx import choose_num_ctx
from portal.shared.errors import InvalidRequest, UnknownModel
from portal.shared.model_list import PERSONA
from portal.shared.models import Model, Persona, Target, Workspace

LONGEST_NAME = 1024
"""Characters of a model's name, which may be a path; longer ones come from nobody who means one."""
LONGEST_GUESSED = 100
"""Characters up to which a name that is close to an unknown one is looked for."""
GUESSES_KEPT = 256


class Registry:
    """Models, workspaces, personas and names of one configuration.

    `memory`: bytes of the machine's memory, from which Ollama's windows are chosen.
    """

    def __init__(
        self,
        backends: Sequence[Backend],
        settings: schema.Settings,
        *,
        personas: Sequence[Persona] = (),
        memory: int | None = None,
    ) -> None:
        self.backends = {backend.name: backend for backend in backends}
        self._facts = settings.models
        self._memory = memory
        self._own = profiles(settings.workspaces)
        self._profiles: dict[str, schema.Workspace] = {}
        self._workspaces: tuple[Workspace, ...] = ()
        self._models: tuple[Model, ...] = ()
        self._completed: dict[str, tuple[Model, Model]] = {}
        self._by_id: dict[str, Model] = {}
        self._windows: dict[str, int | None] = {}
        self._targets: dict[str, Target] = {}
        self._ambiguous: dict[str, list[str]] = {}
        self._guesses: dict[str, str] = {}
        self._personas: tuple[Persona, ...] = ()
        self.set_personas(personas)

    def personas(self) -> Sequence[Persona]:
        return self._personas

    def persona(self, workspace: str) -> Persona | None:
        """Look one up by its id in model lists; None for any other workspace."""
        name = workspace.removeprefix(PERSONA) if workspace.startswith(PERSONA) else None
        return next((each for each in self._personas if each.id == name), None)

    def set_personas(self, personas: Sequence[Persona]) -> None:
        """Take these instead of those before. Raises ConfigurationError, and keeps those then."""
        self._profiles = self._own | as_workspaces(personas, self._own)
        self._personas = tuple(personas)
        self._workspaces = listed(self._profiles)
        self.rebuild()

    def rebuild(self) -> None:
        """Take in what the backends know now."""
        self._models = tuple(
            self._complete(model)
            for backend in self.backends.values()
            for model in backend.models()
        )
        self._by_id = {model.id: model for model in self._models}
        self._completed = {name: self._completed[name] for name in self._by_id}
        self._windows = {n: window for n, window in self._windows.items() if n in self._by_id}
        self._guesses = {}
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
                live = {i: m for i, m in found.items() if self._is_there(m)}
                found = live if len(live) == 1 else found
            if len(found) == 1:
                targets.setdefault(name, _target(name, next(iter(found.values()))))
            else:
                self._ambiguous[name] = list(found)
        for model in self._models:
            for name in _short_names(model):
                written = f"{model.backend}/{name}"
                targets.setdefault(written, _target(written, model))
        for workspace in self._workspaces:
            targets[workspace.id] = Target(workspace.id, workspace)
        self._targets = targets

    def profile(self, workspace: str) -> schema.Workspace:
        """Give the settings of a workspace or persona that exists."""
        return self._profiles[workspace]

    def find(self, backend: str, model: str) -> Model | None:
        """Look one up; None when it is not listed."""
        return self._by_id.get(f"{backend}/{model}")

    def num_ctx(self, backend: str, model: str) -> int | None:
        """Give the window that Ollama is told to serve a model with.

        Not what it happens to be loaded with now: that changes, and each change reloads it.
        """
        return self._windows.get(f"{backend}/{model}")

    def _complete(self, told: Model) -> Model:
        """Fill in what the server does not tell, once for each change of what it does."""
        before = self._completed.get(told.id)
        if before is not None and before[0] == told:
            return before[1]
        model = complete(told, self._facts)
        if model.kind == "ollama":
            window = model.context_window if "context_window" not in model.guessed else None
            chosen = choose_num_ctx(
                msgspec.structs.replace(model, context_window=window),
                memory_bytes=self._memory,
                settings_window=self._settings_window(model),
            )
            model = msgspec.structs.replace(model, served_window=chosen or model.served_window)
            self._windows[model.id] = chosen
        self._completed[told.id] = (told, model)
        return model

    def _settings_window(self, model: Model) -> int | None:
        """Read the window that the settings give a model; the last that names it wins."""
        found = [f.context_window for f in self._facts if matches(f, model) and f.context_window]
        return found[-1] if found else None

    def _is_there(self, model: Model) -> bool:
        return self.backends[model.backend].available and not model.gone

    def models(self) -> Sequence[Model]:
        return self._models

    def workspaces(self) -> Sequence[Workspace]:
        return self._workspaces

    def resolve(self, name: str) -> Target:
        found = self._targets.get(name)
        if found is not None:
            return found
        if len(name) > LONGEST_NAME:
            raise UnknownModel(
                f"The model {name[:80]!r}… does not exist here: its name has {len(name)} "
                f"characters, and no model's has more than {LONGEST_NAME}.",
                param="model",
            )
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
        near = self._close_to(name)
        hint = f" Did you mean {near!r}?" if near else ""
        raise UnknownModel(
            f"The model {name[:200]!r} does not exist here.{hint} GET /v1/models lists what does.",
            param="model",
        )

    def _close_to(self, name: str) -> str:
        """Guess which name was meant; empty where none is close.

        Remembered, since it takes milliseconds and clients repeat their mistakes.
        """
        if len(name) > LONGEST_GUESSED:
            return ""
        guess = self._guesses.get(name)
        if guess is None:
            near = difflib.get_close_matches(name, self._targets, n=1)
            guess = near[0] if near else ""
            if len(self._guesses) >= GUESSES_KEPT:
                self._guesses.clear()
            self._guesses[name] = guess
        return guess


def _target(name: str, model: Model) -> Target:
    return Target(name, backend=model.backend, model=model.name, kind=model.kind)


def _short_names(model: Model) -> tuple[str, ...]:
    """A model's own name; Ollama's `:latest` may be left out, as in its own client."""
    if model.kind == "ollama" and model.name.endswith(":latest"):
        return (model.name, model.name.removesuffix(":latest"))
    return (model.name,)
