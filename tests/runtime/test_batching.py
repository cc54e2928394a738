"""Windows and batches, on any lengths."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from lager_onnx.runtime.batching import packed_batches, padded_batches, windows
from lager_onnx.runtime.packed_batch import pack_batch

LENGTHS = st.lists(st.integers(0, 60), max_size=80)


@dataclass(frozen=True)
class Item:
    number: int
    tokens: int


@given(LENGTHS, st.integers(1, 200))
def test_every_prompt_is_in_exactly_one_batch_within_bounds(lengths: list[int], batch_tokens: int) -> None:
    grouped = padded_batches([[1] * length for length in lengths], batch_tokens)
    assert sorted(index for batch in grouped for index in batch) == [i for i, length in enumerate(lengths) if length]
    for batch in grouped:
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= batch_tokens


@given(LENGTHS, st.integers(1, 200))
def test_batches_waste_nothing_that_neighbours_in_length_could_save(lengths: list[int], batch_tokens: int) -> None:
    grouped = padded_batches([[1] * length for length in lengths], batch_tokens)
    ordered = [lengths[index] for batch in grouped for index in batch]
    assert ordered == sorted(ordered, reverse=True)


@given(st.lists(st.lists(st.integers(0, 1), max_size=60), max_size=40), st.integers(1, 200))
def test_packed_batches_hold_every_prompt_once_within_bounds(prompts: list[list[int]], batch_tokens: int) -> None:
    grouped = packed_batches(prompts, batch_tokens)
    assert sorted(index for batch in grouped for index in batch) == [i for i, prompt in enumerate(prompts) if prompt]
    for batch in grouped:
        tokens = pack_batch([prompts[index] for index in batch])["input_ids"].size
        assert len(batch) == 1 or tokens <= batch_tokens


def test_prompts_that_begin_alike_come_into_one_batch() -> None:
    texts = [[number] * 100 for number in range(6)]
    prompts = [text + [end] * 10 for end in (7, 8, 9) for text in texts]  # six groups of 130 tokens and 24 for rows
    grouped = packed_batches(prompts, 310)
    assert [sorted({prompts[index][0] for index in batch}) for batch in grouped] == [[0, 1], [2, 3], [4, 5]]
    assert packed_batches(prompts, 10) == [[index] for group in range(6) for index in range(group, 18, 6)]


@given(LENGTHS, st.integers(1, 50), st.booleans())
def test_windows_keep_the_order_and_stay_small(lengths: list[int], batch_tokens: int, end_at_errors: bool) -> None:
    items = [Item(*pair) for pair in enumerate(lengths)]
    cut = list(windows(items, batch_tokens, end_at_errors=end_at_errors))
    assert [item for window in cut for item in window] == items
    for window in cut:
        assert sum(item.tokens for item in window[:-1]) < 16 * batch_tokens
        if end_at_errors:
            assert all(item.tokens for item in window[:-1])
