"""Who comes first under which strategy, case by case."""

import itertools

import pytest

from portal.runtime.hints.hints import complete
from portal.runtime.routing.strategies import Facts, Scored, order
from portal.shared.decisions import Category, Classification, Complexity, Strategy
from portal.shared.models import Capability, Model, Quality, SpeedClass

STRATEGIES: tuple[Strategy, ...] = ("auto", "speed", "quality", "balanced", "cost_optimized")
TINY, SMALL, MEDIUM, LARGE = "smollm2:135m", "llama3.2:3b", "qwen2.5:14b", "llama3.3:70b"
CODER, GENERALIST, THINKER, CALCULATOR = (
    "qwen2.5-coder:7b",
    "qwen2.5:7b",
    "deepseek-r1:8b",
    "qwen2.5-math:7b",
)


def ask(
    complexity: Complexity = "moderate",
    category: Category = "question",
    *needs: Capability,
    tokens: int = 100,
) -> Classification:
    """Make a classification."""
    return Classification(category, complexity, needs, tokens)


def here(*names: str, loaded: str = "") -> list[Model]:
    """Make models of these names; `loaded` lies in memory, the others do not."""
    models = [Model("there", name, "ollama", loaded=name == loaded) for name in names]
    return [complete(model) for model in models]


def made(
    name: str,
    quality: int | None = 50,
    speed: SpeedClass | None = "medium",
    cost: float = 0.0,
    billions: float | None = 7,
    *,
    backend: str = "there",
    loaded: bool | None = None,
) -> Model:
    """Make a model of exactly these facts."""
    points = None if quality is None else Quality(quality, quality, quality, quality)
    return Model(
        backend,
        name,
        "ollama",
        ("general",),
        speed=speed,
        quality=points,
        cost=cost,
        billions=billions,
        loaded=loaded,
    )


def names(found: list[Scored]) -> list[str]:
    """Name the models in their order."""
    return [each.model.name for each in found]


# ------------------------------------------------------------------------------ a table for each


@pytest.mark.parametrize(
    ("asked", "models", "loaded", "expected"),
    [
        (ask("simple"), (LARGE, MEDIUM, SMALL), "", [SMALL, MEDIUM, LARGE]),
        (ask("expert"), (LARGE, MEDIUM, SMALL), "", [SMALL, MEDIUM, LARGE]),
        # A model that is there before one that must be loaded first.
        (ask("simple"), (SMALL, MEDIUM), MEDIUM, [MEDIUM, SMALL]),
        # One that is hardly able comes last, but for a greeting.
        (ask("simple"), (TINY, SMALL, LARGE), TINY, [SMALL, LARGE, TINY]),
        (ask("trivial"), (TINY, SMALL, LARGE), TINY, [SMALL, LARGE, TINY]),
        (ask("trivial", "greeting"), (TINY, SMALL, LARGE), TINY, [TINY, SMALL, LARGE]),
        (ask("complex"), ("llama3.2:1b", SMALL, LARGE), "", [SMALL, LARGE, "llama3.2:1b"]),
        # Thinking takes its time.
        (ask("moderate"), (GENERALIST, "qwen3:8b"), "", [GENERALIST, "qwen3:8b"]),
        (ask("moderate"), ("qwen3:8b", MEDIUM), "", [MEDIUM, "qwen3:8b"]),
        # A long prompt is read sooner by a small model, even if that must be loaded first.
        (ask("simple", tokens=20_000), (SMALL, MEDIUM), MEDIUM, [SMALL, MEDIUM]),
    ],
)
def test_speed_takes_the_fastest_that_is_sane(
    asked: Classification, models: tuple[str, ...], loaded: str, expected: list[str]
) -> None:
    assert names(order(here(*models, loaded=loaded), asked, "speed")) == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, ["a", "b"]),
        ({"there/b": Facts(tokens_per_second=80)}, ["b", "a"]),
        ({"there/a": Facts(tokens_per_second=3)}, ["b", "a"]),
        ({"there/a": Facts(waiting=2)}, ["b", "a"]),
        ({"there/a": Facts(waiting=1), "there/b": Facts(waiting=3)}, ["a", "b"]),
        ({"there/a": Facts(tokens_per_second=0)}, ["a", "b"]),
        ({"there/a": Facts(tokens_per_second=float("nan"))}, ["a", "b"]),
        ({"elsewhere/a": Facts(waiting=9)}, ["a", "b"]),
    ],
)
@pytest.mark.parametrize("strategy", ["auto", "speed", "quality", "balanced", "cost_optimized"])
def test_what_was_measured_lately_counts(
    strategy: Strategy, facts: dict[str, Facts], expected: list[str]
) -> None:
    found = order([made("b"), made("a")], ask("simple"), strategy, facts=facts)
    assert names(found) == expected


@pytest.mark.parametrize(
    ("asked", "models", "loaded", "expected"),
    [
        (ask("trivial"), (SMALL, LARGE, MEDIUM), SMALL, [LARGE, MEDIUM, SMALL]),
        (ask("expert"), (SMALL, LARGE, MEDIUM), SMALL, [LARGE, MEDIUM, SMALL]),
        (ask("moderate", "code"), (GENERALIST, CODER), "", [CODER, GENERALIST]),
        (ask("moderate"), (GENERALIST, CODER), "", [GENERALIST, CODER]),
        (ask("moderate", "math"), (GENERALIST, CALCULATOR), "", [CALCULATOR, GENERALIST]),
        (
            ask("moderate", "question", "math"),
            (GENERALIST, CALCULATOR),
            "",
            [CALCULATOR, GENERALIST],
        ),
        (ask("moderate", "question", "code"), (GENERALIST, CODER), "", [CODER, GENERALIST]),
        (ask("complex", "analysis", "reasoning"), (GENERALIST, THINKER), "", [THINKER, GENERALIST]),
        (ask("complex", "analysis"), (GENERALIST, THINKER), "", [GENERALIST, THINKER]),
        (ask("complex", "code", "reasoning"), (CODER, "llama3.1:8b"), "", [CODER, "llama3.1:8b"]),
    ],
)
def test_quality_takes_the_best_for_the_kind_of_question(
    asked: Classification, models: tuple[str, ...], loaded: str, expected: list[str]
) -> None:
    assert names(order(here(*models, loaded=loaded), asked, "quality")) == expected


@pytest.mark.parametrize(
    ("asked", "models", "loaded", "first"),
    [
        (ask("moderate"), (TINY, SMALL, MEDIUM, LARGE), "", MEDIUM),
        (ask("moderate"), (TINY, SMALL, LARGE), LARGE, LARGE),
        (ask("moderate"), (TINY, SMALL, MEDIUM, LARGE), SMALL, SMALL),
        (ask("moderate", "code"), (GENERALIST, CODER, LARGE), "", CODER),
        (ask("expert"), (TINY, MEDIUM, LARGE), "", MEDIUM),
        (ask("trivial"), (TINY, SMALL, LARGE), "", SMALL),
    ],
)
def test_balanced_takes_neither_the_slowest_nor_the_weakest(
    asked: Classification, models: tuple[str, ...], loaded: str, first: str
) -> None:
    assert names(order(here(*models, loaded=loaded), asked, "balanced"))[0] == first


@pytest.mark.parametrize(
    ("asked", "models", "expected"),
    [
        # At one price the smallest that will do; then the larger, and at last what will not.
        (ask("trivial", "greeting"), (LARGE, SMALL, MEDIUM, TINY), [SMALL, MEDIUM, LARGE, TINY]),
        (ask("simple"), (LARGE, SMALL, MEDIUM), [SMALL, MEDIUM, LARGE]),
        (ask("moderate"), (LARGE, SMALL, MEDIUM), [MEDIUM, LARGE, SMALL]),
        (ask("expert"), (LARGE, SMALL, MEDIUM), [LARGE, MEDIUM, SMALL]),
        (ask("moderate", "code"), (LARGE, GENERALIST, CODER), [CODER, GENERALIST, LARGE]),
    ],
)
def test_cost_optimized_takes_the_smallest_that_will_do(
    asked: Classification, models: tuple[str, ...], expected: list[str]
) -> None:
    assert names(order(here(*models), asked, "cost_optimized")) == expected


@pytest.mark.parametrize("complexity", ["trivial", "simple", "moderate", "complex", "expert"])
def test_cost_optimized_takes_the_cheapest_whatever_it_is(complexity: Complexity) -> None:
    models = [made("dear", 99, "fast", 3.0, 1), made("cheap", 40, "slow", 0.1, 70), made("free", 5)]
    found = order(models, ask(complexity), "cost_optimized", prefer=("general",))
    assert names(found) == ["free", "cheap", "dear"]


@pytest.mark.parametrize(
    ("asked", "models", "loaded", "first"),
    [
        # It leans to speed for what is simple …
        (ask("trivial", "greeting"), (SMALL, MEDIUM, LARGE), "", SMALL),
        (ask("simple"), (SMALL, MEDIUM, LARGE), "", SMALL),
        (ask("simple"), (TINY, SMALL), "", SMALL),
        # … to the middle for what is moderate …
        (ask("moderate"), (SMALL, MEDIUM, LARGE), "", MEDIUM),
        # … and to quality for what is hard.
        (ask("complex"), (SMALL, MEDIUM, LARGE), "", LARGE),
        (ask("expert"), (SMALL, MEDIUM, LARGE), "", LARGE),
        (ask("expert", "code"), (GENERALIST, CODER), "", CODER),
        (ask("complex", "analysis", "reasoning"), (GENERALIST, "qwq:32b"), "", "qwq:32b"),
        # What is loaded goes first …
        (ask("simple"), (SMALL, MEDIUM), MEDIUM, MEDIUM),
        (ask("moderate"), (GENERALIST, MEDIUM), GENERALIST, GENERALIST),
        (ask("moderate", "code"), (GENERALIST, CODER), GENERALIST, GENERALIST),
        (ask("complex"), (MEDIUM, "qwen2.5:32b"), MEDIUM, MEDIUM),
        (ask("simple"), (SMALL, GENERALIST, MEDIUM), GENERALIST, GENERALIST),
        # … unless another is clearly better.
        (ask("complex"), (SMALL, MEDIUM), SMALL, MEDIUM),
        (ask("complex"), (MEDIUM, LARGE), MEDIUM, LARGE),
        (ask("expert"), (SMALL, LARGE), SMALL, LARGE),
        (ask("moderate"), (TINY, GENERALIST), TINY, GENERALIST),
        (ask("complex", "code"), ("llama2:7b", CODER), "llama2:7b", CODER),
    ],
)
def test_auto_weighs_by_complexity_and_avoids_loading(
    asked: Classification, models: tuple[str, ...], loaded: str, first: str
) -> None:
    assert names(order(here(*models, loaded=loaded), asked, "auto"))[0] == first


# ------------------------------------------------------------------- what holds under all of them


def test_prefer_brings_what_has_it_forward() -> None:
    models = here(GENERALIST, CODER)
    for strategy in STRATEGIES:
        assert names(order(models, ask("simple"), strategy, prefer=("code",)))[0] == CODER
    for strategy in ("auto", "quality", "balanced"):
        assert names(order(models, ask("simple"), strategy)) == [GENERALIST, CODER]


def test_prefer_does_not_outweigh_a_clearly_better_model() -> None:
    found = order(here(LARGE, "codellama:7b"), ask("complex", "code"), "quality", prefer=("code",))
    assert names(found)[0] == LARGE


def test_unknown_facts_are_middling() -> None:
    unknown = Model("there", "unknown", "ollama", ("general",))
    better, worse = made("better", 80, "fast"), made("worse", 20, "slow")
    for strategy in ("auto", "speed", "quality", "balanced"):
        found = names(order([worse, unknown, better], ask("complex"), strategy))
        assert found == ["better", "unknown", "worse"]
    loaded = [made("a", loaded=False), made("b", loaded=None), made("c", loaded=True)]
    assert names(order(loaded, ask(), "speed")) == ["c", "b", "a"]
    sizes = [made("small", billions=1), made("unknown", billions=None), made("big", billions=70)]
    assert names(order(sizes, ask(), "cost_optimized")) == ["small", "unknown", "big"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_backends_priority_decides_between_equals(strategy: Strategy) -> None:
    models = [made("m", 50, backend="a"), made("m", 51, backend="b"), made("m", 90, backend="c")]
    for high, low in itertools.permutations("ab"):
        facts = {f"{high}/m": Facts(priority=5), f"{low}/m": Facts(priority=-5)}
        found = [each.model.backend for each in order(models, ask(), strategy, facts=facts)]
        assert found.index(high) < found.index(low)


@pytest.mark.parametrize("strategy", ["auto", "quality", "balanced"])
def test_priority_does_not_make_good_for_less_quality(strategy: Strategy) -> None:
    facts = {"there/worse": Facts(priority=100)}
    found = order([made("worse", 50), made("better", 90)], ask("complex"), strategy, facts=facts)
    assert names(found) == ["better", "worse"]


def test_priority_does_not_make_good_for_a_price() -> None:
    models = [made("dear", cost=1.0), made("cheap", cost=0.999)]
    facts = {"there/dear": Facts(priority=100)}
    assert names(order(models, ask(), "cost_optimized", facts=facts)) == ["cheap", "dear"]


def test_nothing_to_choose_from_is_an_empty_order() -> None:
    assert order([], ask(), "auto") == []


@pytest.mark.parametrize(
    ("strategy", "asked", "loaded", "reasons"),
    [
        ("quality", ask("moderate", "code"), "", ["best at code", "next best at code"]),
        ("quality", ask("moderate"), "", ["best overall", "next best overall"]),
        ("speed", ask("simple"), "", ["fastest", "next fastest"]),
        ("auto", ask("simple"), MEDIUM, ["fastest", "next fastest"]),
        ("auto", ask("complex"), MEDIUM, ["best overall", "next best overall"]),
        ("auto", ask("moderate"), MEDIUM, ["loaded, best balance", "next best balance"]),
        ("balanced", ask("moderate"), SMALL, ["loaded, best balance", "next best balance"]),
        (
            "cost_optimized",
            ask("simple"),
            "",
            ["smallest that is good enough", "good enough, larger"],
        ),
        ("cost_optimized", ask("moderate"), "", ["smallest that is good enough", "weak"]),
    ],
)
def test_each_place_has_its_reason(
    strategy: Strategy, asked: Classification, loaded: str, reasons: list[str]
) -> None:
    found = order(here(SMALL, MEDIUM, loaded=loaded), asked, strategy)
    assert [each.reason for each in found] == reasons


def test_a_loaded_model_that_beats_the_best_says_so() -> None:
    models = here(MEDIUM, "qwen2.5:32b", loaded=MEDIUM)
    first = order(models, ask("complex"), "auto")[0]
    assert (first.model.name, first.reason) == (MEDIUM, "loaded, nearly the best overall")


def test_the_embedded_model_is_the_last_resort() -> None:
    embedded = complete(Model("embedded", "qwen3:235b", "embedded", loaded=True))
    for strategy in STRATEGIES:
        found = order([embedded, *here(TINY)], ask("expert"), strategy)
        assert names(found) == [TINY, "qwen3:235b"]
        assert found[1].reason == "embedded, the last resort"
