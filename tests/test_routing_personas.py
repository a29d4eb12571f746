"""A persona's file may hold anything; what is wrong with it is told with its name."""

from pathlib import Path

import pytest

from portal.runtime.routing.personas import load_personas
from portal.shared.errors import ConfigurationError

HOSTILE = {
    "empty": "",
    "an empty timestamp": '!!timestamp ""',
    "an empty number": 'temperature: !!int ""',
    "a boolean that is none": "name: !!bool maybe",
    "code": '!!python/object/apply:os.system ["true"]',
    "itself": "- &a [*a]",
    "depth": "[" * 5000,
    "aliases of aliases": "\n".join(
        ["a0: &a0 [x]", *(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))]
    ),
    "a date that is none": "name: 2001-99-99",
    "bytes that are no text": "\udcff",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused_by_its_name(tmp_path: Path, what: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_bytes(HOSTILE[what].encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigurationError, match=r"odd\.yaml"):
        load_personas(tmp_path)


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_text("name: " + "x" * 70_000, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="larger than 64 KiB"):
        load_personas(tmp_path)
