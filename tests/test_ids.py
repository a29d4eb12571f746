"""Identifiers."""

import itertools
import uuid

from portal.shared.ids import new_id


def test_an_id_is_a_uuid_of_version_7_and_the_standard_variant() -> None:
    for _ in range(200):
        found = uuid.UUID(new_id())
        assert (found.version, found.variant) == (7, uuid.RFC_4122)


def test_ids_are_unique_and_sort_by_their_time() -> None:
    found = [new_id() for _ in range(5000)]
    assert len(set(found)) == len(found)
    clocks = [identifier[:13] for identifier in found]
    assert all(first <= second for first, second in itertools.pairwise(clocks))
