"""Which models displace each other, learnt from what a backend has loaded."""

from portal.runtime.admission.displacement import (
    FORGET_SECONDS,
    IDLE_SECONDS,
    MODELS_KEPT,
    Displacement,
    Residents,
    Use,
)


def look(displacement: Displacement, loaded: str, now: float, **ended: float) -> bool:
    """See the models `loaded`, a letter each, when Portal's own last ended as said."""
    uses = [Use(model, at) for model, at in ended.items()]
    return displacement.observe(frozenset(loaded), uses, now)


def test_a_model_that_left_while_another_came_is_displaced_by_it() -> None:
    learnt = Displacement()
    assert not look(learnt, "a", 10, a=9)
    assert not learnt
    assert look(learnt, "b", 20, a=9, b=19)
    assert learnt.between("a", "b")
    assert learnt.between("b", "a")


def test_the_same_is_seen_when_nothing_was_loaded_in_between() -> None:
    learnt = Displacement()
    look(learnt, "a", 10, a=9)
    look(learnt, "", 20, a=9)
    look(learnt, "b", 30, a=9, b=29)
    assert learnt.between("a", "b")


def test_a_model_that_others_wait_for_is_displaced_although_requests_for_it_are_under_way() -> None:
    learnt = Displacement()
    look(learnt, "a", 10, a=9)
    uses = [Use("a", 15, running=True), Use("b", 5, running=True)]
    learnt.observe(frozenset("b"), uses, 20)
    assert learnt.between("a", "b")


def test_only_the_newcomer_displaces() -> None:
    learnt = Displacement()
    look(learnt, "ab", 10, a=9, b=9)
    look(learnt, "bc", 20, a=9, b=19, c=19)
    assert learnt.between("a", "c")
    assert not learnt.between("a", "b")
    assert not learnt.between("b", "c")


def test_what_comes_later_does_not_displace_what_was_gone_before() -> None:
    learnt = Displacement()
    look(learnt, "a", 10, a=9)
    look(learnt, "b", 20, a=9, b=19)
    look(learnt, "c", 30, a=9, b=19, c=29)
    assert learnt.between("a", "b")
    assert learnt.between("b", "c")
    assert not learnt.between("a", "c")


def test_a_model_that_came_back_may_be_displaced_by_another() -> None:
    learnt = Displacement()
    look(learnt, "a", 10, a=9)
    look(learnt, "b", 20, a=9, b=19)
    look(learnt, "a", 30, a=29, b=19)
    look(learnt, "c", 40, a=29, b=19, c=39)
    assert learnt.between("a", "c")
    assert not learnt.between("b", "c")


def test_a_model_unused_for_long_left_by_itself() -> None:
    learnt = Displacement()
    look(learnt, "a", 10, a=9)
    look(learnt, "b", 11 + IDLE_SECONDS, a=9, b=10 + IDLE_SECONDS)
    assert not learnt


def test_models_of_other_clients_are_not_paired() -> None:
    learnt = Displacement()
    look(learnt, "ax", 10, a=9)
    look(learnt, "y", 20, a=9)
    look(learnt, "b", 30, a=9, b=8)  # Portal used b before a: it was not Portal who loaded it
    assert not learnt


def test_a_model_that_was_never_loaded_is_not_paired() -> None:
    learnt = Displacement()
    look(learnt, "", 10)
    look(learnt, "b", 20, misspelt=15, b=19)
    assert not learnt


def test_seen_together_two_are_a_pair_no_longer() -> None:
    learnt = Displacement()
    look(learnt, "a", 10, a=9)
    look(learnt, "b", 20, a=9, b=19)
    assert look(learnt, "ab", 30, a=29, b=29)
    assert not learnt


def test_a_pair_is_forgotten_unless_it_is_seen_again() -> None:
    learnt = Displacement()
    look(learnt, "a", 0, a=0)
    look(learnt, "b", 10, a=9, b=10)
    look(learnt, "a", FORGET_SECONDS, a=FORGET_SECONDS, b=FORGET_SECONDS - 1)
    look(learnt, "a", FORGET_SECONDS + 100)
    assert learnt.between("a", "b")
    look(learnt, "a", 2 * FORGET_SECONDS + 1)
    assert not learnt


def test_what_is_remembered_of_a_lying_server_has_a_bound() -> None:
    learnt = Displacement()
    for now in range(10):
        learnt.observe(frozenset(f"{now}-{n}" for n in range(MODELS_KEPT)), [], now)
    assert len(learnt._seen) <= MODELS_KEPT
    assert len(learnt._appeared) <= MODELS_KEPT


def test_residents_make_room_for_what_displaces_them_and_for_what_is_too_much() -> None:
    learnt = Displacement()
    look(learnt, "a", 10, a=9)
    look(learnt, "b", 20, a=9, b=19)
    of_pairs = Residents(learnt, 0)
    assert [of_pairs.take(model) for model in "acabca"] == [False] * 3 + [True, False, True]
    of_two = Residents(Displacement(), 2)
    assert [of_two.take(model) for model in "abacb"] == [False] * 3 + [True, True]
