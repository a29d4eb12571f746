"""Which models may answer a question, and in which order: the pure decision."""

import re
from typing import Any

import pytest

from portal.runtime.ops import schema
from portal.runtime.routing.decide import Asked, World, decide
from portal.runtime.routing.workspaces import profiles
from portal.shared.decisions import Classification, Decision
from portal.shared.errors import NoBackend, NoCapableModel, UnknownModel
from portal.shared.models import Capability, Model, Quality, Target, Workspace

EVERYDAY = Classification("question", "moderate")


def model(
    name: str, *capabilities: Capability, quality: int = 50, backend: str = "ollama", **facts: Any
) -> Model:
    return Model(
        backend,
        name,
        "embedded" if backend == "embedded" else "ollama",
        capabilities=("general", *capabilities),
        quality=Quality(quality, quality, quality, quality),
        **facts,
    )


class Here:
    """A world of these models, of which some backends are down and some models paused."""

    def __init__(
        self,
        *models: Model,
        down: tuple[str, ...] = (),
        paused: tuple[str, ...] = (),
        rules: tuple[schema.Rule, ...] = (),
        **workspaces: schema.Workspace,
    ) -> None:
        self.models = models
        self.profiles = profiles({n.replace("_", "-"): w for n, w in workspaces.items()})
        self.world = World(
            models=models,
            resolve=self.resolve,
            profile=self.profiles.__getitem__,
            live=lambda backend: backend not in down,
            paused=lambda backend, name: 9.0 if f"{backend}/{name}" in paused else 0.0,
            rules=tuple((rule, re.compile(rule.pattern, re.IGNORECASE)) for rule in rules),
        )

    def resolve(self, name: str) -> Target:
        if name in self.profiles:
            return Target(name, Workspace(name, ""))
        for each in self.models:
            if name in (each.id, each.name):
                return Target(name, backend=each.backend, model=each.name, kind=each.kind)
        raise UnknownModel(f"no {name}")

    def decide(
        self,
        text: str = "hi",
        found: Classification = EVERYDAY,
        *,
        workspace: str = "auto",
        override: str | None = None,
    ) -> Decision:
        return decide(self.resolve(workspace), Asked(text, found), self.world, override=override)


def names(decision: Decision) -> list[str]:
    return [candidate.name for candidate in decision.candidates]


def passed(decision: Decision) -> dict[str, str]:
    return {each.model: each.reason for each in decision.passed_over}


SMALL, LARGE = model("small", quality=30), model("large", quality=80)
SEEING = model("seeing", "vision", quality=40)
OWN = model("own", backend="embedded", quality=5)


def test_every_live_chat_model_is_a_candidate_and_the_embedded_one_is_the_last() -> None:
    decision = Here(OWN, SMALL, LARGE).decide()
    assert set(names(decision)) == {"ollama/small", "ollama/large", "embedded/own"}
    assert names(decision)[-1] == "embedded/own"


def test_models_that_cannot_be_asked_are_passed_over_with_the_reason() -> None:
    gone, away = model("gone", gone=True), model("away", backend="vllm")
    embed = Model("ollama", "nomic", "ollama", capabilities=("embedding",))
    decision = Here(SMALL, gone, away, embed, down=("vllm",)).decide()
    assert names(decision) == ["ollama/small"]
    assert passed(decision) == {
        "ollama/gone": "its backend no longer lists it",
        "vllm/away": "its backend does not answer",
        "ollama/nomic": "cannot chat",
    }


def test_an_image_goes_only_to_models_that_can_see() -> None:
    found = Classification("question", "simple", ("vision",))
    decision = Here(LARGE, SEEING, OWN).decide(found=found)
    assert names(decision) == ["ollama/seeing"]
    assert passed(decision)["ollama/large"] == "cannot see images"


def test_a_capability_that_no_model_has_is_named() -> None:
    found = Classification("question", "simple", ("vision",))
    with pytest.raises(NoCapableModel, match="can see images"):
        Here(LARGE, OWN).decide(found=found)
    with pytest.raises(NoCapableModel, match="can see images"):
        Here(LARGE).decide(workspace="auto-vision")


def test_a_capable_model_that_is_down_is_another_error_than_none_at_all() -> None:
    found = Classification("question", "simple", ("function_calling",))
    tools = model("tools", "function_calling", backend="vllm")
    with pytest.raises(NoBackend, match="vllm/tools can, but it is not there now"):
        Here(LARGE, tools, down=("vllm",)).decide(found=found)


def test_no_model_at_all_says_what_to_do() -> None:
    with pytest.raises(NoBackend, match="Start Ollama or LM Studio"):
        Here().decide()


def test_a_configured_model_comes_first_then_its_fallbacks_then_the_rest() -> None:
    mine = schema.Workspace(model="small", fallback=("missing", "seeing"))
    decision = Here(LARGE, SMALL, SEEING, mine=mine).decide(workspace="mine")
    assert names(decision) == ["ollama/small", "ollama/seeing", "ollama/large"]
    assert decision.reason == "configured"
    assert passed(decision) == {"missing": "not known now"}


def test_a_configured_model_known_to_lack_what_is_needed_is_passed_over() -> None:
    mine = schema.Workspace(model="small")
    found = Classification("question", "simple", ("vision",))
    decision = Here(SMALL, SEEING, mine=mine).decide(found=found, workspace="mine")
    assert names(decision) == ["ollama/seeing"]
    assert passed(decision)["ollama/small"] == "cannot see images"


def test_a_configured_model_is_trusted_where_its_lack_is_only_guessed() -> None:
    unsure = model("unsure", guessed=("capabilities",))
    found = Classification("question", "simple", ("vision",))
    decision = Here(unsure, SEEING, mine=schema.Workspace(model="unsure")).decide(
        found=found, workspace="mine"
    )
    assert names(decision) == ["ollama/unsure", "ollama/seeing"]


def test_an_override_is_the_only_candidate_even_where_others_are_better() -> None:
    decision = Here(LARGE, SMALL).decide(override="small")
    assert names(decision) == ["ollama/small"]
    assert (decision.override, decision.reason) == ("small", "@model")


def test_an_override_may_name_a_workspace() -> None:
    decision = Here(LARGE, SEEING).decide(override="auto-vision")
    assert (decision.workspace, names(decision)) == ("auto-vision", ["ollama/seeing"])


def test_an_unknown_override_is_refused() -> None:
    with pytest.raises(UnknownModel, match="no nonsense"):
        Here(LARGE).decide(override="nonsense")


def test_a_rule_of_auto_sends_what_matches_to_its_model_with_the_rest_behind() -> None:
    taxes = schema.Rule("taxes", r"\btax(es)?\b", "small")
    decision = Here(LARGE, SMALL, rules=(taxes,)).decide("About my TAXES")
    assert names(decision) == ["ollama/small", "ollama/large"]
    assert (decision.rule, decision.reason) == ("taxes", "rule taxes")


def test_a_rule_may_send_to_a_workspace() -> None:
    rule = schema.Rule("pictures", "picture", "auto-vision")
    decision = Here(LARGE, SEEING, rules=(rule,)).decide("a picture")
    assert (decision.workspace, decision.rule) == ("auto-vision", "pictures")


def test_the_first_rule_of_the_list_that_matches_decides() -> None:
    first = schema.Rule("first", "tax", "large", priority=5)
    second = schema.Rule("second", "tax", "small")
    assert Here(LARGE, SMALL, rules=(first, second)).decide("tax").rule == "first"


def test_rules_hold_for_auto_alone_and_not_for_an_override() -> None:
    rule = schema.Rule("all", ".", "small")
    here = Here(LARGE, SMALL, rules=(rule,))
    assert here.decide(workspace="auto-fast").rule is None
    assert here.decide(override="large").rule is None


def test_a_rule_whose_target_is_unknown_now_leaves_auto_to_decide() -> None:
    rule = schema.Rule("away", ".", "missing")
    assert names(Here(LARGE, rules=(rule,)).decide()) == ["ollama/large"]


def test_a_model_left_alone_after_failures_goes_to_the_end_and_is_told() -> None:
    decision = Here(LARGE, SMALL, OWN, paused=("ollama/large",)).decide()
    assert names(decision)[-1] == "ollama/large"
    assert passed(decision)["ollama/large"] == "left alone for 9 s more after failures"


def test_every_candidate_appears_once() -> None:
    mine = schema.Workspace(model="small", fallback=("small", "large"))
    decision = Here(LARGE, SMALL, mine=mine).decide(workspace="mine")
    assert names(decision) == ["ollama/small", "ollama/large"]
