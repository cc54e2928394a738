"""Which prompts one core reads one after another: those that begin alike."""

import itertools
from typing import Final

from lager_onnx.runtime.reader import shared

# Prompts belong together where one saves the other at least this many tokens.
_WORTH: Final = 32
# A long row of prompts that begin alike is cut, so that every core has some: each piece reads the beginning anew.
_LONGEST_ROW: Final = 16


def all_begin_alike(prompts: list[list[int]]) -> bool:
    """Whether prompts share at least half of the shortest one: one response under several criteria, mostly."""
    first, last = min(prompts), max(prompts)  # in the order of their token ids, these two share what all do
    return 2 * shared(first, last) >= min(map(len, prompts))


def rows_of_prompts(prompts: list[list[int]]) -> list[list[int]]:
    """Groups prompts that share more of their beginning than all of them do.

    In the order of their token ids, prompts that begin alike stand side by side, however they came.

    Args:
        prompts: token ids; empty ones are left out.

    Returns:
        Indices into `prompts`, each non-empty one once; most tokens to read first, so that cores end together.
    """
    order = sorted((index for index, ids in enumerate(prompts) if ids), key=lambda index: prompts[index])
    if not order:
        return []
    common = shared(prompts[order[0]], prompts[order[-1]])
    rows = [[order[0]]]
    for before, index in itertools.pairwise(order):
        alike = shared(prompts[before], prompts[index]) - common >= _WORTH
        if alike and len(rows[-1]) < _LONGEST_ROW:
            rows[-1].append(index)
        else:
            rows.append([index])
    return sorted(rows, key=lambda row: -_tokens(row, prompts))


def _tokens(row: list[int], prompts: list[list[int]]) -> int:
    """Tokens that are read for a row."""
    pairs = itertools.pairwise(row)
    saved = sum(shared(prompts[before], prompts[index]) for before, index in pairs)
    return sum(len(prompts[index]) for index in row) - saved
