"""Ollama's `options`, as far as other servers have a word for them. Pure."""

from collections.abc import Mapping
from typing import Any

from portal.shared.errors import InvalidRequest
from portal.shared.turns import Sampling

NUMBERS: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}
WHOLE: Mapping[str, str] = {"num_predict": "max_tokens", "seed": "seed"}
"""Ollama's names, and Portal's."""


def read_options(options: Mapping[str, Any] | None) -> tuple[Sampling, tuple[str, ...]]:
    """Translate options; gives also the names of those that only Ollama has.

    Raises InvalidRequest for one of a wrong type.
    """
    found: dict[str, Any] = {}
    dropped = []
    for name, value in (options or {}).items():
        if value is None:
            continue
        if name in NUMBERS:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise _wrong(name, "a number")
            found[NUMBERS[name]] = float(value)
        elif name in WHOLE:
            if isinstance(value, bool) or not isinstance(value, int | float) or value % 1:
                raise _wrong(name, "a whole number")
            found[WHOLE[name]] = int(value)
        elif name == "stop":
            found["stop"] = _stop(value)
        else:
            dropped.append(f"options.{name}")
    if found.get("max_tokens", 1) < 1:
        del found["max_tokens"]  # to Ollama that means no limit
    return Sampling(**found), tuple(sorted(dropped))


def _stop(value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise _wrong("stop", "an array of texts")
    return tuple(texts)


def _wrong(name: str, right: str) -> InvalidRequest:
    where = f"options.{name}"
    return InvalidRequest(f"`{where}` must be {right}.", param=where)
