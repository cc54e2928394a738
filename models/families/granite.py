"""Granite 3."""

from typing import Any

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
