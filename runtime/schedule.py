"""Which prompts one core prefills one after another: those that begin alike."""

import itertools
from collections.abc import Sequence
from typing import Final

from lager_onnx.runtime.prefill import common_prefix

# Prompts belong together where one saves the other at least this many tokens.
_WORTH: Final = 32
# A large group of prompts that begin alike is cut, so that every core has some: each part runs its prefix anew.
_LARGEST_GROUP: Final = 16


def share_half(prompts: list[list[int]]) -> bool:
    """Whether prompts share at least half of the shortest one: one response under several criteria, mostly."""
    first, last = min(prompts), max(prompts)  # in the order of their token ids, these two share what all do
    return 2 * common_prefix(first, last) >= min(map(len, prompts))


def groups_of_prompts(prompts: Sequence[list[int]], *, largest: int = _LARGEST_GROUP) -> list[list[int]]:
    """Groups prompts that share more of their beginning than all of them do.

    In the order of their token ids, prompts that begin alike stand side by side, however they came.

    Args:
        prompts: token ids; empty ones are left out.
        largest: most prompts of a group.

    Returns:
        Indices into `prompts`, each non-empty one once; groups in the order of their first prompt, so that results come
        in about the order of the prompts.
    """
    order = sorted((index for index, ids in enumerate(prompts) if ids), key=lambda index: prompts[index])
    if not order:
        return []
    common = common_prefix(prompts[order[0]], prompts[order[-1]])
    groups = [[order[0]]]
    for before, index in itertools.pairwise(order):
        alike = common_prefix(prompts[before], prompts[index]) - common >= _WORTH
        if alike and len(groups[-1]) < largest:
            groups[-1].append(index)
        else:
            groups.append([index])
    return sorted(groups, key=min)
