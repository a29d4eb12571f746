"""Whose turn it is at one backend, decided without a clock or a loop."""

from portal.runtime.admission.collation import LANES_KEPT
from tests.load_simulation import Desk


def test_without_displacement_the_order_is_that_of_arrival() -> None:
    desk = Desk(limit=1)
    desk.ask("abacab")
    order = desk.admit()
    while desk.running:
        desk.finish(order[-1])
        order += desk.admit()
    assert order == "abacab"


def test_the_running_model_goes_on_for_a_batch_then_the_other_takes_its_whole_line() -> None:
    desk = Desk(room=1)
    desk.ask("a")
    assert desk.admit() == "a"
    desk.ask("bbaaaaab")
    assert desk.admit() == "aaa"
    desk.finish("a", 3)
    assert desk.admit() == "", "one of a runs still"
    desk.finish("a")
    assert desk.admit() == "bbb"
    desk.finish("b", 3)
    assert desk.admit() == "aa"


def test_a_batch_counts_also_where_answers_come_one_by_one() -> None:
    desk = Desk(limit=1, room=1)
    desk.ask("abababababab")
    order = desk.admit()
    while desk.running:
        desk.finish(order[-1])
        order += desk.admit()
    assert order == "aaabbbaaabbb"


def test_a_turn_goes_on_although_its_line_is_empty_now_and_then() -> None:
    desk = Desk(limit=1, room=1)
    desk.ask("a")
    order = desk.admit()
    desk.ask("b")
    for _ in range(4):
        desk.ask("a")
        desk.finish("a")
        order += desk.admit()
    assert order == "aaaab", "one before b began to wait, and a batch"


def test_a_turn_ends_with_the_last_request_of_its_line() -> None:
    desk = Desk(limit=1, room=1)
    desk.ask("a")
    desk.admit()
    gone = desk.ask("ab")[0]
    desk.finish("a")
    desk.line.drop(gone)
    assert desk.admit() == "b"


def test_new_requests_of_a_turn_that_is_used_up_wait_behind_all_others() -> None:
    desk = Desk(limit=1, room=1)
    desk.ask("aaaaaabbc")
    order = desk.admit()
    while desk.running:
        desk.finish(order[-1])
        order += desk.admit()
        if len(order) < 12:
            desk.ask("a")
    assert order.startswith("aaabbcaaa")


def test_a_turn_ends_when_another_has_waited_for_long_enough() -> None:
    desk = Desk(room=1, batch=1000, batch_seconds=30)
    desk.ask("a")
    desk.admit()
    desk.now = 500
    desk.ask("b")
    desk.now = 529
    desk.ask("a")
    assert desk.admit() == "a", "alone before, its turn counts from when another began to wait"
    desk.now = 530
    desk.ask("a")
    assert desk.admit() == ""
    desk.finish("a", 2)
    assert desk.admit() == "b"


def test_a_long_wait_does_not_shorten_the_turns_of_those_who_waited() -> None:
    desk = Desk(room=1, batch=3, batch_seconds=30)
    desk.ask("a")
    desk.admit()
    desk.ask("bbbbcccc")
    desk.now = 1000
    desk.finish("a")
    assert desk.admit() == "bbb", "c has waited long, yet b's turn has just begun"
    desk.finish("b", 3)
    assert desk.admit() == "ccc"


def test_a_turn_is_whole_again_once_nobody_waits_for_its_end() -> None:
    desk = Desk(room=1)
    desk.ask("a")
    desk.admit()
    gone = desk.ask("b")
    desk.ask("aa")
    assert desk.admit() == "aa"
    desk.line.drop(gone[0])
    desk.ask("baaaa")
    assert desk.admit() == "aaa"


def test_as_many_models_run_at_once_as_fit() -> None:
    desk = Desk(room=2)
    desk.ask("abcab")
    assert desk.admit() == "abab"
    desk.finish("a", 2)
    assert desk.admit() == "c"


def test_once_all_fit_again_the_order_is_that_of_arrival() -> None:
    desk = Desk(limit=3, room=2, batch=1)
    order = ""
    for model in "abcaabcc":
        desk.ask(model)
        order += desk.admit()
    assert order == "aba", "c waits for room, and a's batch is used up"
    while desk.running:
        desk.finish(desk.running[0][0].model)
        order += desk.admit()
    assert order == "aba" + "bc" + "a" + "cc", "the last of a came before the others of c"


def test_only_those_that_displace_each_other_wait_for_each_other() -> None:
    desk = Desk()
    desk.displace("a", "b")
    desk.ask("abcab")
    assert desk.admit() == "aca"
    assert not desk.line.open_to("c"), "b is in line"
    desk.finish("a", 2)
    assert desk.admit() == "bb"
    assert desk.line.open_to("c")
    assert not desk.line.open_to("a")


def test_a_model_that_fits_does_not_overtake_one_that_it_would_displace() -> None:
    desk = Desk()
    desk.displace("a", "b")
    desk.displace("b", "c")
    desk.ask("a")
    desk.admit()
    desk.ask("bc")
    assert desk.admit() == ""
    desk.finish("a")
    assert desk.admit() == "b"


def test_of_two_found_to_displace_each_other_while_both_run_the_later_yields() -> None:
    desk = Desk()
    desk.ask("ab")
    assert desk.admit() == "ab"
    desk.displace("a", "b")
    desk.ask("ab")
    assert desk.admit() == "a"
    desk.finish("b")
    assert desk.admit() == ""
    desk.finish("a", 2)
    assert desk.admit() == "b"


def test_background_work_waits_until_no_person_does() -> None:
    desk = Desk(limit=4, room=1)
    desk.ask("a")
    desk.admit()
    desk.ask("aa", background=True)
    desk.ask("b")
    assert desk.admit() == "", "b waits for a's end, which more work on a would put off"
    desk.finish("a")
    assert desk.admit() == "b"
    desk.finish("b")
    assert desk.admit() == "aa"


def test_background_work_goes_to_the_loaded_model_first_but_not_for_ever() -> None:
    desk = Desk(limit=2, batch_seconds=30)
    desk.line.observe(frozenset("b"), 0)
    desk.ask("abb", background=True)
    assert desk.admit() == "b"
    desk.now = 30
    desk.ask("b", background=True)
    desk.finish("b")
    assert desk.admit() == "a"


def test_a_line_knows_who_stands_before_a_request() -> None:
    desk = Desk(limit=1)
    desk.ask("a")
    desk.admit()
    work = desk.ask("aa", background=True)
    people = desk.ask("ab")
    assert desk.line.ahead(people[1]) == [people[0]]
    assert desk.line.ahead(work[1]) == [*people, work[0]]


def test_what_is_remembered_of_models_that_clients_make_up_has_a_bound() -> None:
    desk = Desk()
    desk.ask("a")
    desk.admit()
    busy = desk.line.lane("a")
    patient = desk.ask("b", background=True)[0]
    for number in range(3 * LANES_KEPT):
        desk.line.lane(f"made-up-{number}")
    assert len(desk.line._lanes) <= LANES_KEPT
    assert desk.line.lane("a") is busy
    assert desk.line.lane("b") is patient.lane
