"""The window of an Ollama model, and the signs that Ollama cut a prompt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.runtime.windows.num_ctx import choose_num_ctx, truncated
from portal.shared.models import Model

GIB = 2**30


def model(
    *, trained: int | None = 131_072, size: int | None = 5 * GIB, kv: int | None = 131_072
) -> Model:
    """By default much like Llama 3.1 8B: a window of 8,192 takes a GiB."""
    return Model("ollama", "m", "ollama", context_window=trained, size_bytes=size, kv_bytes=kv)


@pytest.mark.parametrize(
    ("memory", "window"),
    [(8, 4096), (11, 4096), (12, 8192), (14, 16384), (16, 16384), (18, 32768), (512, 32768)],
)
def test_the_largest_window_is_chosen_that_fits_half_of_the_memory(
    memory: int, window: int
) -> None:
    assert choose_num_ctx(model(), memory_bytes=memory * GIB, settings_window=None) == window


@pytest.mark.parametrize(
    ("trained", "window"), [(2048, 2048), (4096, 4096), (20_000, 20_000), (40_960, 32_768)]
)
def test_the_window_is_never_over_what_the_model_was_trained_on(trained: int, window: int) -> None:
    found = choose_num_ctx(model(trained=trained), memory_bytes=64 * GIB, settings_window=None)
    assert found == window


@pytest.mark.parametrize(
    ("trained", "wished", "window"),
    [(131_072, 65_536, 65_536), (8192, 65_536, 8192), (None, 65_536, 65_536), (8192, 512, 512)],
)
def test_the_settings_win_as_far_as_the_model_was_trained(
    trained: int | None, wished: int, window: int
) -> None:
    found = choose_num_ctx(model(trained=trained), memory_bytes=GIB, settings_window=wished)
    assert found == window


@pytest.mark.parametrize(
    ("known", "memory"),
    [
        (model(trained=None, size=None, kv=None), 64 * GIB),
        (model(trained=None), 64 * GIB),
        (model(size=None), 64 * GIB),
        (model(), None),
    ],
)
def test_what_cannot_be_reckoned_is_left_to_ollama(known: Model, memory: int | None) -> None:
    assert choose_num_ctx(known, memory_bytes=memory, settings_window=None) is None


def test_an_unknown_cache_is_taken_to_be_large() -> None:
    def choose(kv: int | None) -> int | None:
        return choose_num_ctx(model(kv=kv), memory_bytes=18 * GIB, settings_window=None)

    assert (choose(131_072), choose(None)) == (32768, 4096)


sizes = st.none() | st.integers(0, 200 * GIB)


@given(
    st.none() | st.integers(1, 2_000_000), sizes, st.none() | st.integers(0, 2**22), sizes, sizes
)
def test_more_memory_never_means_a_smaller_window(
    trained: int | None, size: int | None, kv: int | None, memory: int | None, more: int | None
) -> None:
    known = model(trained=trained, size=size, kv=kv)
    first = choose_num_ctx(known, memory_bytes=memory, settings_window=None)
    assert first == choose_num_ctx(known, memory_bytes=memory, settings_window=None)
    if first is not None:
        assert trained is not None
        assert min(trained, 4096) <= first <= min(trained, 32768)
        if memory is not None and more is not None:
            second = choose_num_ctx(known, memory_bytes=memory + more, settings_window=None)
            assert second is not None
            assert second >= first


@pytest.mark.parametrize(
    ("lower", "counted", "likely"),
    [
        (9000, 8192, None),  # older: cut to the whole window
        (9000, 4098, None),  # newer: to half of it, and num_keep
        (9000, 5311, None),  # whole messages left out
        (6000, 4098, 10_000),  # the lower bound alone would not tell
        (4500, 4098, None),
        (3000, 4098, 9000),
        (7000, 8192, 11_000),
    ],
)
def test_a_cut_prompt_is_found(lower: int, counted: int, likely: int | None) -> None:
    assert truncated(lower, counted, 8192, estimate=likely)


@pytest.mark.parametrize("keep", [0, 4, 5])
@pytest.mark.parametrize("num_ctx", [512, 2048, 4096, 8191, 32768])
def test_the_half_that_newer_ollamas_keep_is_known_at_every_window(num_ctx: int, keep: int) -> None:
    kept = num_ctx - max((num_ctx - keep) // 2, 1)
    assert truncated(num_ctx - 1, kept, num_ctx, estimate=num_ctx + 100)


@pytest.mark.parametrize(
    ("lower", "counted", "likely"),
    [
        (4000, None, 6000),  # not told
        (9000, 0, 9900),  # all of it cached, as older ones tell
        (4000, 31, 6000),  # most of it cached
        (6000, 3000, 8100),  # half of it cached
        (3000, 4098, 4300),  # as long as half the window by chance
        (6500, 8192, 8300),  # fills the window to the last token
        (9000, 9500, None),  # the window is larger than was thought
        (5000, 6200, 6000),  # counted whole
    ],
)
def test_a_whole_prompt_raises_no_alarm(
    lower: int, counted: int | None, likely: int | None
) -> None:
    assert not truncated(lower, counted, 8192, estimate=likely)


@given(st.integers(256, 200_000), st.data())
def test_a_prompt_that_fits_and_is_counted_whole_never_raises_an_alarm(
    num_ctx: int, data: st.DataObject
) -> None:
    counted = data.draw(st.integers(1, num_ctx))
    lower = data.draw(st.integers(0, counted))
    likely = data.draw(st.integers(lower, int(counted * 1.25)))
    assert not truncated(lower, counted, num_ctx, estimate=likely)
