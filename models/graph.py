"""Names of the judge graph's inputs and outputs: its contract with the runtime."""

from typing import Final

INPUT_IDS: Final = "input_ids"
ATTENTION_MASK: Final = "attention_mask"
OUTPUTS: Final = ("score", "probabilities", "logits", "layer_logits")

PAST_LENGTH: Final = "past_length"
PARTS: Final = ("key", "value")

# A judge that writes gives the logits of the next token, for as many prompts as are asked for.
WRITERS: Final = "writers"
NEXT_LOGITS: Final = "next_token_logits"

# A judge for CUDA reads a packed batch: `runtime/packed_batch.py` says what these hold.
SCORE_TOKENS: Final = "score_tokens"
ROW_TOKENS: Final = "row_tokens"
TOKEN_ROWS: Final = "token_rows"  # noqa: S105
CUMULATIVE_ROWS: Final = "cumulative_rows"
PAST_LENGTHS: Final = "past_lengths"
BLOCK_TABLE: Final = "block_table"
LONGEST: Final = "longest"
CACHE_BLOCKS: Final = "cache_blocks"

# Tokens in a block of the KV cache. Flash attention reads 256, 128 or 64 at once, by the size of a head, none of which
# may lie in two blocks: this one fits all.
BLOCK_TOKENS: Final = 256


def past(layer: int, part: str) -> str:
    """The optional input with a layer's keys or values of tokens that were read before."""
    return f"past_key_values.{layer}.{part}"


def present(layer: int, part: str) -> str:
    """The output with a layer's keys or values of all tokens so far."""
    return f"present.{layer}.{part}"
