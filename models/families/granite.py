"""Granite 3."""

from dataclasses import replace
from typing import Any

from lager_onnx.models.attention import Attention
from lager_onnx.models.families.base import Family


class Granite(Family):
    """Llama with multipliers on embedding, attention, residual branches and logits."""

    architecture = "GraniteForCausalLM"

    def embedding_ops(self, config: Any) -> tuple[str, ...]:
        """The embedding multiplier."""
        return ("Mul",) if config.embedding_multiplier != 1 else ()

    def head_ops(self, config: Any) -> tuple[str, ...]:
        """The division by `logits_scaling`."""
        return ("Div",) if config.logits_scaling != 1 else ()

    def neutral_ops(self, config: Any) -> tuple[str, ...]:
        """Return the multipliers that are one, which the model's code applies all the same."""
        neutral = {"Mul": config.embedding_multiplier == 1, "Div": config.logits_scaling == 1}
        return tuple(op for op, is_one in neutral.items() if is_one)

    def attention(self, config: Any, layer: int) -> Attention:
        """Scaled by the attention multiplier."""
        return replace(super().attention(config, layer), scale=config.attention_multiplier)
