"""Which models may answer a workspace's turn, best first. Pure: decides, and touches nothing."""

import re
from collections.abc import Callable, Sequence

import msgspec

from portal.runtime.ops import schema
from portal.shared.errors import InvalidRequest, UnknownModel
from portal.shared.models import Model, Target

NOT_FOR_CHAT = re.compile(
    r"embed|rerank|whisper|(?<![a-z])(?:bert|bge|gte|tts)(?![a-z])", re.IGNORECASE
)
SIZE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s*([bm])(?![a-z])", re.IGNORECASE)


class Candidate(msgspec.Struct, frozen=True):
    """A model that may answer, and why it stands where it does."""

    backend: str
    model: str
    reason: str

    @property
    def name(self) -> str:
        """`<backend>/<model>`."""
        return f"{self.backend}/{self.model}"


def rank(
    workspace: schema.Workspace,
    models: Sequence[Model],
    resolve: Callable[[str], Target],
    live: Callable[[str], bool],
) -> list[Candidate]:
    """Order what may answer: the workspace's own model, its fallbacks, then every live chat model.

    The largest live model comes first, since more parameters answer better; the embedded one is
    last. A named model is kept even when its backend looks dead: it was asked for. One whose name
    means nothing now (its backend may not have been seen yet) is passed over, and that is said.
    """
    chosen: list[Candidate] = []
    unknown: list[str] = []
    named = [] if workspace.model is None else [(workspace.model, "configured")]
    named += [(name, "fallback") for name in workspace.fallback]
    for name, reason in named:
        try:
            target = resolve(name)
        except (InvalidRequest, UnknownModel):
            unknown.append(name)
            continue
        if target.workspace is None:
            chosen.append(Candidate(target.backend, target.model, reason))
    able = [model for model in models if live(model.backend) and may_chat(model)]
    able.sort(key=lambda model: (model.kind == "embedded", -billions(model)))
    reason = "live" if chosen or unknown else "best live"
    if unknown:
        reason += f", as {', '.join(unknown)} is not known now"
    chosen += [Candidate(model.backend, model.name, reason) for model in able]
    unique = {(each.backend, each.model): each for each in reversed(chosen)}
    return [each for each in chosen if unique[each.backend, each.model] is each]


def may_chat(model: Model) -> bool:
    """Tell chat models from those that only embed, rank or listen."""
    return not NOT_FOR_CHAT.search(f"{model.name} {model.family or ''}")


def billions(model: Model) -> float:
    """Estimate the number of parameters in billions, from what the server says or the name."""
    for text in (model.parameters or "", model.name):
        found = SIZE.search(text.replace("_", "-"))
        if found:
            size = float(found[1])
            return size if found[2].lower() == "b" else size / 1000
    return 0.0
