"""Windows and batches, on any lengths."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from lager_onnx.runtime.batching import batches, windows

LENGTHS = st.lists(st.integers(0, 60), max_size=80)


@dataclass(frozen=True)
class Item:
    number: int
    tokens: int


@given(LENGTHS, st.integers(1, 200))
def test_every_prompt_is_in_exactly_one_batch_within_bounds(lengths: list[int], batch_tokens: int) -> None:
    grouped = batches(lengths, batch_tokens)
    assert sorted(index for batch in grouped for index in batch) == [i for i, length in enumerate(lengths) if length]
    for batch in grouped:
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= batch_tokens


@given(LENGTHS, st.integers(1, 200))
def test_batches_waste_nothing_that_neighbours_in_length_could_save(lengths: list[int], batch_tokens: int) -> None:
    ordered = [lengths[index] for batch in batches(lengths, batch_tokens) for index in batch]
    assert ordered == sorted(ordered, reverse=True)


@given(LENGTHS, st.integers(1, 50), st.booleans())
def test_windows_keep_the_order_and_stay_small(lengths: list[int], batch_tokens: int, end_at_errors: bool) -> None:
    items = [Item(*pair) for pair in enumerate(lengths)]
    cut = list(windows(items, batch_tokens, end_at_errors=end_at_errors))
    assert [item for window in cut for item in window] == items
    for window in cut:
        assert sum(item.tokens for item in window[:-1]) < 16 * batch_tokens
        if end_at_errors:
            assert all(item.tokens for item in window[:-1])
