"""Packed batches: read back as PagedAttention reads them, in numpy."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lager_onnx.models.graph import BLOCK_TOKENS
from lager_onnx.runtime.packed_batch import Array, pack_batch

BEGINNING = [number % 7 for number in range(3 * BLOCK_TOKENS)]
PROMPTS = st.lists(
    st.builds(
        lambda shared, own: [*BEGINNING[:shared], *own],
        st.sampled_from([0, 1, 5, BLOCK_TOKENS - 1, BLOCK_TOKENS, BLOCK_TOKENS + 44, 2 * BLOCK_TOKENS + 1]),
        st.lists(st.integers(0, 2), min_size=1, max_size=40),
    ),
    min_size=1,
    max_size=12,
)


def read_back(batch: dict[str, Array]) -> list[list[int]]:
    """The tokens of every sequence: each row writes its token into its slot of the cache, then all are read."""
    ids, rows = batch["input_ids"][0], batch["row_tokens"]
    cache = np.full((int(batch["cache_blocks"][0]), BLOCK_TOKENS), -1)
    bounds = list(zip(batch["cumulative_rows"][:-1], batch["cumulative_rows"][1:], strict=True))
    sequences = list(zip(bounds, batch["past_lengths"], batch["block_table"], strict=True))
    for (first, end), past, table in sequences:
        for row in range(first, end):
            block, place = divmod(int(past) + row - first, BLOCK_TOKENS)
            assert cache[table[block], place] == -1  # nobody writes where another one has written
            cache[table[block], place] = ids[rows[row]]
    places = [(table, np.arange(past + end - first)) for (first, end), past, table in sequences]
    return [cache[table[at // BLOCK_TOKENS], at % BLOCK_TOKENS].tolist() for table, at in places]


@given(PROMPTS)
def test_every_prompt_is_a_sequence_and_no_token_is_there_twice(prompts: list[list[int]]) -> None:
    batch = pack_batch(prompts)
    assert read_back(batch) == sorted(map(list, {tuple(prompt) for prompt in prompts}))
    beginnings = {tuple(prompt[:length]) for prompt in prompts for length in range(1, len(prompt) + 1)}
    assert batch["input_ids"].size == len(beginnings)


@given(PROMPTS)
def test_every_token_finds_its_row_and_every_prompt_its_last_token(prompts: list[list[int]]) -> None:
    batch = pack_batch(prompts)
    rows, back = batch["row_tokens"], batch["token_rows"][0]
    assert (rows[back] == np.arange(batch["input_ids"].size)).all()
    behind = np.searchsorted(batch["cumulative_rows"], back, side="right") - 1  # the sequence of each token's row
    position = batch["past_lengths"][behind] + back - batch["cumulative_rows"][behind]
    sequences = read_back(batch)
    for prompt, token in zip(prompts, batch["score_tokens"], strict=True):
        assert sequences[behind[token]][: position[token] + 1] == prompt


@given(PROMPTS)
def test_attention_reads_few_rows_more_than_there_are_tokens(prompts: list[list[int]]) -> None:
    batch = pack_batch(prompts)
    sequences = len(batch["past_lengths"])
    assert batch["row_tokens"].size - batch["input_ids"].size <= (sequences - 1) * (BLOCK_TOKENS - 1)
    lengths = np.diff(batch["cumulative_rows"])
    assert batch["longest"].tolist() == [lengths.max(), (lengths + batch["past_lengths"]).max()]
