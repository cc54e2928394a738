"""Prompts side by side without padding, each token once: what a judge for CUDA reads."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lager_onnx.models.graph import (
    BLOCK_TABLE,
    BLOCK_TOKENS,
    CACHE_BLOCKS,
    CUMULATIVE_ROWS,
    INPUT_IDS,
    LONGEST,
    PAST_LENGTHS,
    ROW_TOKENS,
    SCORE_TOKENS,
    TOKEN_ROWS,
)
from lager_onnx.runtime.prefill import common_prefix

Array = npt.NDArray[Any]


def pack_batch(prompts: Sequence[list[int]]) -> dict[str, Array]:
    """Lays prompts out so that what several begin with is there once.

    In the order of their token ids, a prompt shares with the one before it the most that it shares with any. Of two
    prompts that begin with 300 tokens alike, the second reads the keys and values of the first 256 from the blocks of
    the first one; the other 44 stand in a block that the first one goes on filling, so the second writes them into a
    block of its own. They are rows of attention, but no tokens: queries, keys and values are there already.

    Args:
        prompts: token ids, none of them empty.

    Returns:
        What the graph reads, by name, with `sequences` in the order of their token ids:
        `input_ids` int64 (1, tokens): tokens that differ.
        `score_tokens` int64 (prompts,): the last token of each prompt, as it was given.
        `row_tokens` int64 (rows,): the token whose query, key and value a row of attention takes.
        `token_rows` int64 (1, tokens): the row that holds a token's result.
        `cumulative_rows` int32 (sequences + 1,): where the rows of each sequence begin, and the end.
        `past_lengths` int32 (sequences,): how many tokens it reads from blocks of others.
        `block_table` int32 (sequences, blocks): its blocks in the KV cache, the shorter ones filled up with 0.
        `longest` int32 (2,): most rows of a sequence, most tokens of one.
        `cache_blocks` int64 (1,): blocks of the KV cache in all.
    """
    before, before_tokens, before_blocks = list[int](), np.zeros(0, np.int64), list[int]()
    ids, score_tokens, blocks = list[int](), np.zeros(len(prompts), np.int64), 0
    row_tokens, token_rows, tables = list[Array](), list[Array](), list[list[int]]()
    ends, pasts, lengths = [0], list[int](), list[int]()
    for index in sorted(range(len(prompts)), key=lambda index: prompts[index]):
        prompt = prompts[index]
        shared = common_prefix(before, prompt)
        new = len(prompt) - shared
        if new:  # otherwise it is the one before once more
            past = shared // BLOCK_TOKENS * BLOCK_TOKENS
            tokens = np.concatenate([before_tokens[:shared], np.arange(len(ids), len(ids) + new)])
            own = -(-(len(prompt) - past) // BLOCK_TOKENS)
            row_tokens.append(tokens[past:])
            token_rows.append(np.arange(shared - past, len(prompt) - past) + ends[-1])
            ends.append(ends[-1] + len(prompt) - past)
            pasts.append(past)
            lengths.append(len(prompt))
            tables.append([*before_blocks[: past // BLOCK_TOKENS], *range(blocks, blocks + own)])
            ids += prompt[shared:]
            blocks += own
            before, before_tokens, before_blocks = prompt, tokens, tables[-1]
        score_tokens[index] = before_tokens[-1]
    table = np.zeros((len(tables), max(map(len, tables))), np.int32)
    for row, sequence in zip(table, tables, strict=True):
        row[: len(sequence)] = sequence
    return {
        INPUT_IDS: np.asarray([ids], np.int64),
        SCORE_TOKENS: score_tokens,
        ROW_TOKENS: np.concatenate(row_tokens),
        TOKEN_ROWS: np.concatenate(token_rows)[None],
        CUMULATIVE_ROWS: np.asarray(ends, np.int32),
        PAST_LENGTHS: np.asarray(pasts, np.int32),
        BLOCK_TABLE: table,
        LONGEST: np.asarray([np.diff(ends).max(), max(lengths)], np.int32),
        CACHE_BLOCKS: np.asarray([blocks], np.int64),
    }
