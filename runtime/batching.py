"""Which prompts are graded together: sorted by length within a window, bounded by tokens."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol, TypeVar

from lager_onnx.models.graph import BLOCK_TOKENS
from lager_onnx.runtime.prefill import common_prefix
from lager_onnx.runtime.schedule import groups_of_prompts

BATCH_TOKENS: Final = 4096
# A window holds this many full batches: enough to sort by length and to find what prompts share (with 8, newsroom takes
# 12% more time, with 32 3% less), few enough that results come soon.
_BATCHES_A_WINDOW: Final = 16
# A row of attention that is no token takes about an eighth of a token's memory: queries, keys, values and context.
_ROWS_A_TOKEN: Final = 8


class HasTokens(Protocol):
    """Anything that knows how many tokens it has; 0 for what cannot be graded."""

    @property
    def tokens(self) -> int:
        """Number of tokens."""


T = TypeVar("T", bound=HasTokens)


def windows(items: Iterable[T], batch_tokens: int, *, end_at_errors: bool = False) -> Iterator[list[T]]:
    """Cuts a stream into windows of about sixteen batches, in order.

    With `end_at_errors`, an item that cannot be graded ends its window: what stands before it is graded, and
    then the caller learns of the error without waiting for what follows.
    """
    window: list[T] = []
    tokens = 0
    for item in items:
        window.append(item)
        tokens += item.tokens
        full = tokens >= _BATCHES_A_WINDOW * batch_tokens or len(window) >= batch_tokens
        if full or (end_at_errors and not item.tokens):
            yield window
            window, tokens = [], 0
    if window:
        yield window


def padded_batches(prompts: Sequence[list[int]], batch_tokens: int) -> list[list[int]]:
    """Groups prompts into batches of at most `batch_tokens` tokens, padding included, longest first.

    Args:
        prompts: token ids; empty ones are left out.
        batch_tokens: most tokens a batch; a prompt that is longer goes alone.

    Returns:
        Indices into `prompts`, every graded prompt in exactly one batch.
    """
    given = [index for index, prompt in enumerate(prompts) if prompt]
    grouped: list[list[int]] = []
    for index in sorted(given, key=lambda index: -len(prompts[index])):
        if grouped and (len(grouped[-1]) + 1) * len(prompts[grouped[-1][0]]) <= batch_tokens:
            grouped[-1].append(index)
        else:
            grouped.append([index])
    return grouped


def packed_batches(prompts: Sequence[list[int]], batch_tokens: int) -> list[list[int]]:
    """Groups prompts into batches of at most `batch_tokens` tokens, those of a shared prefix counted once.

    Prompts that begin alike come into one batch, if they fit. Otherwise batches follow the order of the prompts, so
    that results come in about that order.

    Args:
        prompts: token ids; empty ones are left out.
        batch_tokens: most tokens a batch; a prompt that is longer goes alone.

    Returns:
        Indices into `prompts`, every graded prompt in exactly one batch.
    """
    grouped: list[list[int]] = []
    room = 0
    for group in groups_of_prompts(prompts, largest=len(prompts)):
        befores = [grouped[-1][-1] if grouped else None, *group[:-1]]
        costs = [_cost(prompts, before, index) for before, index in zip(befores, group, strict=True)]
        if room < sum(costs) <= batch_tokens:  # a new one holds all of them
            room = -1
        for index, cost in zip(group, costs, strict=True):
            if cost > room:
                grouped.append([])
                room, cost = batch_tokens, len(prompts[index])  # noqa: PLW2901
            grouped[-1].append(index)
            room -= cost
    return grouped


def _cost(prompts: Sequence[list[int]], before: int | None, index: int) -> int:
    """What a prompt adds to a batch that holds the one before it, in tokens."""
    shared = 0 if before is None else common_prefix(prompts[before], prompts[index])
    return len(prompts[index]) - shared + shared % BLOCK_TOKENS // _ROWS_A_TOKEN
