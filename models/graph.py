"""Names of the judge graph's inputs and outputs: its contract with the runtime."""

from typing import Final

INPUT_IDS: Final = "input_ids"
ATTENTION_MASK: Final = "attention_mask"
OUTPUTS: Final = ("score", "probabilities", "logits", "layer_logits")

PAST_LENGTH: Final = "past_length"
PARTS: Final = ("key", "value")


def past(layer: int, part: str) -> str:
    """The optional input with a layer's keys or values of tokens that were read before."""
    return f"past_key_values.{layer}.{part}"


def present(layer: int, part: str) -> str:
    """The output with a layer's keys or values of all tokens so far."""
    return f"present.{layer}.{part}"
