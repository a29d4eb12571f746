"""Frames come out the same, however the bytes were sliced."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.runtime.backends import framing
from portal.runtime.backends.framing import Events, Lines
from portal.shared.errors import BackendBroken

clean = st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"").replace(b"\r", b""))
cuts = st.lists(st.integers(min_value=0, max_value=400), max_size=8)


def sliced(data: bytes, places: list[int]) -> list[bytes]:
    """Cut bytes at these places."""
    edges = sorted({0, len(data), *(place for place in places if place < len(data))})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(st.lists(clean, max_size=8), st.sampled_from([b"\n", b"\r\n"]), cuts)
def test_lines_do_not_depend_on_slices(
    lines: list[bytes], ending: bytes, places: list[int]
) -> None:
    found = Lines()
    data = b"".join(line + ending for line in lines)
    out = [line for piece in sliced(data, places) for line in found.feed(piece)]
    assert out == lines
    assert found.end() == b""


def test_a_rest_without_line_end_is_given_at_the_end() -> None:
    found = Lines()
    assert found.feed(b"one\ntwo") == [b"one"]
    assert found.end() == b"two"


@given(st.lists(clean, max_size=6), st.sampled_from([b"\n", b"\r\n"]), cuts)
def test_events_do_not_depend_on_slices(
    events: list[bytes], ending: bytes, places: list[int]
) -> None:
    found = Events()
    data = b"".join(
        b": comment" + ending + b"event: x" + ending + b"data: " + event + ending + ending
        for event in events
    )
    out = [event for piece in sliced(data, places) for event in found.feed(piece)]
    assert out == events


def test_data_lines_of_one_event_are_joined_and_the_space_is_optional() -> None:
    assert Events().feed(b"data:a\ndata: b\ndata:  c\n\n") == [b"a\nb\n c"]


def test_an_event_without_its_empty_line_is_given_at_the_end() -> None:
    found = Events()
    assert found.feed(b"data: last\n") == []
    assert found.end() == [b"last"]


def test_an_endless_line_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "MAX_FRAME", 100)
    found = Lines()
    for _ in range(10):
        found.feed(b"x" * 10)
    with pytest.raises(BackendBroken, match="more than"):
        found.feed(b"x")


def test_an_endless_event_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "MAX_FRAME", 100)
    found = Events()
    found.feed(b"data: " + b"x" * 80 + b"\n")
    with pytest.raises(BackendBroken, match="more than"):
        found.feed(b"data: " + b"x" * 80 + b"\n")


@pytest.mark.parametrize("begun", [b"data: a\n", b"data", b": c"])
def test_a_plain_event_behind_one_that_has_begun_does_not_overtake_it(begun: bytes) -> None:
    found, whole = Events(), Events()
    assert found.feed(b"data: first\n\n") == [b"first"]
    assert found.feed(begun) == []
    assert found.feed(b"data: b\n\n") == whole.feed(begun + b"data: b\n\n")
    assert found.feed(b"data: last\n\n") == [b"last"]
