"""The window that an Ollama model is served with, and whether Ollama kept to it. Pure.

Ollama reloads a model whenever `num_ctx` changes, so there is one per model, always the same; and
it cuts a prompt that is longer without a word, so its own count is read for the signs of that.
"""

from collections.abc import Iterator

from portal.shared.models import Model

LADDER = (4096, 8192, 16384, 32768)
"""Windows to choose from; larger ones cost memory and are asked for by setting."""
MEMORY_SHARE = 0.5
"""Of the machine's memory, for one model: how much a GPU has is not known, and others live here."""
_NO_SHARED_HEADS = 6000
"""Weights of which a byte of cache per token is due, were no attention heads shared."""
_KEEP = range(9)
"""Tokens of the beginning that Ollama keeps when it cuts: `num_keep` is 4, and a BOS."""


def choose_num_ctx(
    model: Model,
    *,
    memory_bytes: int | None,
    settings_window: int | None,
) -> int | None:
    """Choose the `num_ctx` of a model, the same for the same input; None leaves it to Ollama.

    `settings_window` wins, as far as the model was trained. Else it is the largest of the ladder,
    and of what the model was trained on, with which weights and cache take at most half of
    `memory_bytes`, the machine's memory; at least the smallest. Where the trained window, the size
    of the weights or the memory is not known, that cannot be reckoned: Ollama's own default
    stays, and `/api/ps` tells it once the model is loaded.
    """
    trained = model.context_window
    if settings_window is not None:
        return settings_window if trained is None else min(settings_window, trained)
    if trained is None or model.size_bytes is None or memory_bytes is None:
        return None
    per_token = model.kv_bytes
    if per_token is None:
        per_token = model.size_bytes // _NO_SHARED_HEADS
    room = int(memory_bytes * MEMORY_SHARE) - model.size_bytes
    windows = [*(window for window in LADDER if window < trained), min(trained, LADDER[-1])]
    fitting = [window for window in windows if window * per_token <= room]
    return max(fitting, default=windows[0])


def truncated(
    lower_bound: int,
    counted: int | None,
    num_ctx: int,
    *,
    estimate: int | None = None,
) -> bool:
    """Tell from `prompt_eval_count` whether Ollama left out a part of the prompt.

    `lower_bound` and, better, `estimate` are of the prompt as it was sent, `num_ctx` is what
    Ollama was told or what `/api/ps` says. It was cut when

    - it cannot have been read whole: its lower bound is over the window, the count is not; or
    - the count is one that cutting leaves behind, and the prompt was longer. Newer Ollamas cut to
      half of the window and the kept beginning, older ones to all of it. The prompt was longer
      when its lower bound is, or its estimate by more than estimates err.

    A low count alone is no sign: of a cached prompt, older Ollamas count the rest.
    """
    if not counted or counted > num_ctx:
        return False
    if lower_bound > num_ctx:
        return True
    likely = 0 if estimate is None else estimate
    if counted in (num_ctx, num_ctx - 1):
        return likely > 1.25 * num_ctx
    return counted in _halves(num_ctx) and max(lower_bound, likely / 1.5) > counted


def _halves(num_ctx: int) -> Iterator[int]:
    return (num_ctx - (num_ctx - keep) // 2 for keep in _KEEP)
