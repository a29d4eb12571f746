"""Which models may answer a question, and in which order. Pure: decides, and touches nothing."""

import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from portal.runtime.ops import schema
from portal.runtime.routing.strategies import Facts, order
from portal.runtime.routing.workspaces import AUTO
from portal.shared.decisions import Candidate, Classification, Decision, PassedOver, Strategy
from portal.shared.errors import InvalidRequest, NoBackend, NoCapableModel, UnknownModel
from portal.shared.models import Capability, Model, Target

SEARCHED = 4000
"""Characters of the last message that the rules are looked for in."""
WORDS: Mapping[str, str] = {
    "vision": "see images",
    "function_calling": "call tools",
    "embedding": "embed text",
    "general": "chat",
}
HELP: Mapping[str, str] = {
    "vision": " One that can is qwen2.5vl on Ollama.",
    "function_calling": " One that can is qwen3 on Ollama.",
}


class World(msgspec.Struct, frozen=True):
    """What exists at this moment, as far as a decision depends on it."""

    models: Sequence[Model]
    """With hints and settings applied."""
    resolve: Callable[[str], Target]
    profile: Callable[[str], schema.Workspace]
    """The settings of a workspace that exists."""
    live: Callable[[str], bool]
    """Whether a backend answers."""
    paused: Callable[[str, str], float]
    """Seconds for which a breaker still lets nothing through to a (backend, model)."""
    rules: Sequence[tuple[schema.Rule, re.Pattern[str]]] = ()
    """Highest priority first."""
    strategy: Strategy = "auto"
    facts: Mapping[str, Facts] = {}


class Asked(msgspec.Struct, frozen=True):
    """What is asked, as far as a decision depends on it."""

    text: str
    """The last thing that the person said."""
    classification: Classification


def named(target: Target) -> Decision:
    """Decide for a raw model: it, and nothing else."""
    candidate = Candidate(target.backend, target.model, "named")
    return Decision(target.name, None, (candidate,), "named")


def decide(target: Target, asked: Asked, world: World, *, override: str | None = None) -> Decision:
    """Decide for a workspace. `override` is the model or workspace that `@model:` named.

    Raises UnknownModel for an unknown override, NoCapableModel when no model can do what the
    question needs, NoBackend when those that can are not there now.
    """
    assert target.workspace is not None
    requested, workspace, rule = target.name, target.workspace.id, None
    if override is not None:
        target = world.resolve(override)
    elif workspace == AUTO:
        rule = _matching(world.rules, asked.text)
        target = _rule_target(rule, world) or target
    if target.workspace is None:
        how = "@model" if override is not None else f"rule {rule.name}" if rule else ""
        own = Candidate(target.backend, target.model, how)
        if override is not None:
            # A model named explicitly is never exchanged for another.
            return Decision(requested, workspace, (own,), how, override=override)
        first: tuple[Candidate, ...] = (own,)
        profile = world.profile(workspace)
    else:
        first = ()
        workspace = target.workspace.id
        profile = world.profile(workspace)
    return _chain(requested, workspace, profile, first, asked, world, rule, override)


def _chain(
    requested: str,
    workspace: str,
    profile: schema.Workspace,
    first: tuple[Candidate, ...],
    asked: Asked,
    world: World,
    rule: schema.Rule | None,
    override: str | None,
) -> Decision:
    """Line up what was named, then everything able, best first; paused ones go to the end."""
    found = asked.classification
    strategy = profile.strategy or world.strategy
    needs = _hard_needs(profile, found)
    passed: list[PassedOver] = []
    chain = [each for each in first if _may_be_named(each, needs, world, passed)]
    for name, why in _names(profile):
        candidate = _named_candidate(name, why, world, passed)
        if candidate is not None and _may_be_named(candidate, needs, world, passed):
            chain.append(candidate)
    able = [model for model in world.models if _is_able(model, needs, world, passed)]
    scored = order(able, found, strategy, prefer=profile.prefer, facts=world.facts)
    chain += [Candidate(s.model.backend, s.model.name, s.reason, s.score) for s in scored]
    unique = _first_wins(chain)
    if not unique:
        raise _nothing(needs, world)
    pauses = {each.name: world.paused(each.backend, each.model) for each in unique}
    ready = [each for each in unique if not pauses[each.name]]
    waiting = [each for each in unique if pauses[each.name]]
    unique = ready + waiting
    passed += [
        PassedOver(each.name, f"left alone for {pauses[each.name]:.0f} s more after failures")
        for each in waiting
    ]
    listed = {each.name for each in ready}
    return Decision(
        requested,
        workspace,
        candidates=tuple(unique),
        reason=_reason(unique[0], found, rule, override),
        strategy=strategy,
        classification=found,
        rule=None if rule is None else rule.name,
        override=override,
        passed_over=tuple(each for each in passed if each.model not in listed),
    )


def _matching(
    rules: Sequence[tuple[schema.Rule, re.Pattern[str]]], text: str
) -> schema.Rule | None:
    head = text[:SEARCHED]
    return next((rule for rule, pattern in rules if pattern.search(head)), None)


def _rule_target(rule: schema.Rule | None, world: World) -> Target | None:
    """Give a rule's target; None without a rule, or where its target is unknown now."""
    if rule is None:
        return None
    try:
        return world.resolve(rule.target)
    except (InvalidRequest, UnknownModel):
        return None


def _names(profile: schema.Workspace) -> list[tuple[str, str]]:
    named = [] if profile.model is None else [(profile.model, "configured")]
    return named + [(name, "configured fallback") for name in profile.fallback]


def _named_candidate(
    name: str, why: str, world: World, passed: list[PassedOver]
) -> Candidate | None:
    """Find a model of the settings. Unknown is no error: its backend may come back."""
    try:
        target = world.resolve(name)
    except (InvalidRequest, UnknownModel):
        passed.append(PassedOver(name, "not known now"))
        return None
    if target.workspace is not None:
        passed.append(PassedOver(name, "a workspace, where a model is expected"))
        return None
    return Candidate(target.backend, target.model, why)


def _may_be_named(
    candidate: Candidate, needs: Sequence[Capability], world: World, passed: list[PassedOver]
) -> bool:
    """Pass over a model of the settings only for what it is known, not guessed, to lack."""
    model = next(
        (m for m in world.models if m.backend == candidate.backend and m.name == candidate.model),
        None,
    )
    if model is None or "capabilities" in model.guessed:
        return True
    lacking = _lacking(model, needs)
    if lacking:
        passed.append(PassedOver(candidate.name, f"cannot {WORDS.get(lacking, lacking)}"))
    return not lacking


def _is_able(
    model: Model, needs: Sequence[Capability], world: World, passed: list[PassedOver]
) -> bool:
    if model.gone:
        why = "its backend no longer lists it"
    elif not world.live(model.backend):
        why = "its backend does not answer"
    elif lacking := _lacking(model, needs):
        why = f"cannot {WORDS.get(lacking, lacking)}"
    else:
        return True
    passed.append(PassedOver(model.id, why))
    return False


def _lacking(model: Model, needs: Sequence[Capability]) -> Capability | None:
    able = model.capabilities or ()
    return next((need for need in needs if need not in able), None)


def _hard_needs(profile: schema.Workspace, found: Classification) -> tuple[Capability, ...]:
    """Name what a model cannot do without; what it should merely be good at is not among it."""
    asked: list[Capability] = ["general", *profile.require]
    asked += [need for need in found.needs if need in ("vision", "function_calling")]
    return tuple(dict.fromkeys(asked))


def _first_wins(chain: Sequence[Candidate]) -> list[Candidate]:
    found: dict[tuple[str, str], Candidate] = {}
    for each in chain:
        found.setdefault((each.backend, each.model), each)
    return list(found.values())


def _nothing(needs: Sequence[Capability], world: World) -> Exception:
    """Say why nobody can answer: what is missing is a capability, or a backend."""
    special = [need for need in needs if need != "general"]
    chatting = [m for m in world.models if "general" in (m.capabilities or ())]
    words = " and ".join(WORDS.get(need, f"do {need}") for need in special)
    able = [model for model in chatting if _lacking(model, needs) is None]
    live = any(world.live(model.backend) and not model.gone for model in chatting)
    if special and able:
        return NoBackend(
            f"This needs a model that can {words}; {able[0].id} can, but it is not there now. "
            "`portal backends list` tells why."
        )
    if special and live:
        return NoCapableModel(
            f"This needs a model that can {words}, and none of those here can."
            + HELP.get(special[0], ""),
            param="model",
        )
    return NoBackend(
        "No model can answer now: no backend is live, and there is no embedded model. "
        "Start Ollama or LM Studio, or install the embedded model; `portal doctor` tells "
        "what is missing."
    )


def _reason(
    first: Candidate, found: Classification, rule: schema.Rule | None, override: str | None
) -> str:
    """Say in a line why the first stands first, fit for a header."""
    parts = []
    if override is not None:
        parts.append("@model")
    elif rule is not None:
        parts.append(f"rule {rule.name}")
    if first.score is not None:
        parts.append(f"{found.complexity} {found.category}")
    if first.reason not in parts:
        parts.append(first.reason)
    return ", ".join(parts)
