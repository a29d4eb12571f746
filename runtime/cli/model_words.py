"""What is known of models, in words for a table and for a page on one of them. Pure."""

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from portal.runtime.cli.terminal import table

if TYPE_CHECKING:
    from portal.shared.model_list import ModelEntry, ModelFacts
    from portal.shared.models import Capability

WORDS: "Mapping[Capability, str]" = {
    "general": "chat",
    "function_calling": "tools",
    "embedding": "embeddings",
}
"""How people call abilities that programs call otherwise."""
GUESS = "~"
LATEST = ":latest"


def list_lines(entries: "Sequence[ModelEntry]") -> list[str]:
    """Lay everything that can be asked out as a table."""
    head = ("MODEL", "SIZE", "QUANT", "CONTEXT", "GOOD FOR", "STATE")
    lines = table(head, [_row(entry) for entry in entries])
    if any(entry.portal.guessed for entry in entries):
        lines.append(f"{GUESS} from hints, not told by the server. `portal models show <id>`: all.")
    return lines


def show_lines(entry: "ModelEntry") -> list[str]:
    """Tell all that is known of one, a line each; what comes from hints says so."""
    facts = entry.portal
    rows = [
        ("id", entry.id),
        ("kind", facts.kind),
        ("description", facts.description),
        ("backend", facts.backend),
        ("state", state_of(facts)),
        ("good for", _told(facts, "capabilities", _abilities(facts))),
        ("parameters", _told(facts, "parameters", facts.parameters)),
        ("quantization", _told(facts, "quantization", facts.quantization)),
        ("family", _told(facts, "family", facts.family)),
        ("context window", _told(facts, "context_window", _tokens(facts.context_window))),
        ("served with", _tokens(facts.served_window)),
        ("memory a token", facts.kv_bytes and f"{facts.kv_bytes / 1024:.0f} KiB"),
        ("size on disk", facts.size_bytes and f"{facts.size_bytes / 1e9:.2f} GB"),
        ("speed", _told(facts, "speed", facts.speed)),
        ("quality", _told(facts, "quality", _quality(facts))),
        ("cost", facts.cost and f"{facts.cost:g} a million tokens"),
        ("digest", facts.digest),
    ]
    return table(("", ""), [(name, str(value)) for name, value in rows if value])[1:]


def state_of(facts: "ModelFacts") -> str:
    """Say whether it can be asked now."""
    if facts.kind != "model":
        return "always there"
    if facts.gone:
        return "gone: its backend no longer lists it"
    if not facts.live:
        return "its backend is down"
    if facts.breaker == "open":
        return "left alone after failures"
    state = "loaded" if facts.loaded else "live"
    if facts.breaker == "half_open":
        state += ", tried again after failures"
    return f"{state}, a small model" if facts.embedded else state


def find_entry(wanted: str, entries: "Sequence[ModelEntry]") -> "ModelEntry | str":
    """Find one by its id or its own name; else say why not."""
    names = (wanted, wanted + LATEST)
    found = [entry for entry in entries if entry.id in names or entry.id.partition("/")[2] in names]
    if len(found) > 1:
        ids = ", ".join(entry.id for entry in found)
        return f"{wanted!r} is on several backends: {ids}."
    if found:
        return found[0]
    near = difflib.get_close_matches(wanted, [entry.id for entry in entries], n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"No model goes by the id {wanted!r}.{hint} `portal models` lists all."


def _row(entry: "ModelEntry") -> tuple[str, ...]:
    facts = entry.portal
    if facts.kind != "model":
        return entry.id, "", "", "", "", facts.description
    return (
        entry.id,
        _marked(facts, "parameters", facts.parameters),
        _marked(facts, "quantization", facts.quantization),
        _marked(facts, "context_window", _context(facts)),
        _marked(facts, "capabilities", _abilities(facts)),
        state_of(facts),
    )


def _marked(facts: "ModelFacts", field: str, value: str | None) -> str:
    return f"{GUESS}{value}" if value and field in facts.guessed else value or ""


def _told(facts: "ModelFacts", field: str, value: str | None) -> str | None:
    return f"{value} (from hints)" if value and field in facts.guessed else value


def _abilities(facts: "ModelFacts") -> str | None:
    able = facts.capabilities
    return None if able is None else ", ".join(WORDS.get(each, each) for each in able)


def _context(facts: "ModelFacts") -> str | None:
    window, served = facts.context_window, facts.served_window
    if window and served and served < window:
        return f"{served} of {window}"
    found = window or served
    return str(found) if found else None


def _tokens(count: int | None) -> str | None:
    return f"{count} tokens" if count else None


def _quality(facts: "ModelFacts") -> str | None:
    found = facts.quality
    if found is None:
        return None
    return (
        f"general {found.general}, code {found.code}, math {found.math}, "
        f"reasoning {found.reasoning}, of 100"
    )
