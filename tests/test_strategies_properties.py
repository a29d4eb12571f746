"""What holds of every order, whatever the models and the question."""

import string

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from portal.runtime.routing.strategies import Facts, Scored, order
from portal.shared.decisions import Classification, Strategy
from portal.shared.models import Capability, Model, Quality

STRATEGIES: tuple[Strategy, ...] = ("auto", "speed", "quality", "balanced", "cost_optimized")
MODELS = st.lists(
    st.builds(
        Model,
        st.sampled_from(["a", "b"]),
        st.text("xyz", min_size=1, max_size=3),
        st.sampled_from(["ollama", "openai", "embedded"]),
        st.sampled_from([None, ("general",), ("general", "code", "reasoning")]),
        billions=st.none() | st.floats(0.01, 1000),
        speed=st.sampled_from([None, "fast", "medium", "slow"]),
        quality=st.none() | st.builds(Quality, *[st.integers(0, 100)] * 4),
        cost=st.sampled_from([0.0, 0.0, 0.5, 2.0]),
        loaded=st.sampled_from([None, True, False]),
    ),
    max_size=8,
    unique_by=lambda model: model.id,
)
ASKED = st.builds(
    Classification,
    st.sampled_from(["greeting", "question", "code", "math", "general"]),
    st.sampled_from(["trivial", "simple", "moderate", "complex", "expert"]),
    st.sampled_from([(), ("reasoning",), ("code", "vision")]),
    st.integers(0, 200_000),
)
FACTS = st.dictionaries(
    st.builds(lambda b, n: f"{b}/{n}", st.sampled_from("ab"), st.text("xyz", min_size=1)),
    st.builds(Facts, st.none() | st.floats(0, 500), st.integers(0, 50), st.integers(-100, 100)),
)
PREFER = st.sampled_from([(), ("code",), ("reasoning", "code")])
ANY = st.sampled_from(STRATEGIES)


@given(MODELS, ASKED, ANY, PREFER, FACTS, st.randoms())
def test_an_order_is_total_and_the_same_however_the_models_come(
    models: list[Model],
    asked: Classification,
    strategy: Strategy,
    prefer: tuple[Capability, ...],
    facts: dict[str, Facts],
    random: object,
) -> None:
    found = order(models, asked, strategy, prefer=prefer, facts=facts)
    assert sorted(each.model.id for each in found) == sorted(model.id for model in models)
    random.shuffle(models)  # type: ignore[attr-defined]
    assert order(models, asked, strategy, prefer=prefer, facts=facts) == found
    kinds = [each.model.kind == "embedded" for each in found]
    assert kinds == sorted(kinds)
    for each in found:
        assert 0 <= each.score <= 1
        assert 0 < len(each.reason) <= 40
        assert set(each.reason) <= set(string.ascii_letters + " ,")


@given(MODELS, ASKED, PREFER, FACTS, st.data())
def test_a_better_model_never_moves_back_under_quality(
    models: list[Model],
    asked: Classification,
    prefer: tuple[Capability, ...],
    facts: dict[str, Facts],
    data: st.DataObject,
) -> None:
    rated = [model for model in models if model.quality is not None]
    if not rated:
        return
    chosen = data.draw(st.sampled_from(rated))
    gain = data.draw(st.integers(1, 60))
    assert chosen.quality is not None
    points = [min(100, value + gain) for value in msgspec.structs.astuple(chosen.quality)]
    better = msgspec.structs.replace(chosen, quality=Quality(*points))
    changed = [better if model is chosen else model for model in models]
    before = order(models, asked, "quality", prefer=prefer, facts=facts)
    after = order(changed, asked, "quality", prefer=prefer, facts=facts)
    assert place(after, chosen.id) <= place(before, chosen.id)


@given(MODELS, ASKED, PREFER, FACTS)
def test_a_dearer_model_never_stands_before_a_cheaper_one_under_cost_optimized(
    models: list[Model],
    asked: Classification,
    prefer: tuple[Capability, ...],
    facts: dict[str, Facts],
) -> None:
    found = order(models, asked, "cost_optimized", prefer=prefer, facts=facts)
    for embedded in (False, True):
        costs = [s.model.cost for s in found if (s.model.kind == "embedded") is embedded]
        assert costs == sorted(costs)


@given(MODELS, ASKED, ANY, PREFER)
def test_scores_fall_along_the_order_where_no_priority_speaks(
    models: list[Model], asked: Classification, strategy: Strategy, prefer: tuple[Capability, ...]
) -> None:
    scores = [each.score for each in order(models, asked, strategy, prefer=prefer)]
    own = scores[: sum(model.kind != "embedded" for model in models)]
    assert own == sorted(own, reverse=True)
    assert all(score <= 0.001 for score in scores[len(own) :])


def place(found: list[Scored], model_id: str) -> int:
    """Tell where a model stands."""
    return [each.model.id for each in found].index(model_id)
