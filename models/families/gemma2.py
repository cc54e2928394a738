"""Gemma 2."""

from typing import Any

from lager_onnx.models.families.base import Family


class Gemma2(Family):
    """Scaled embedding, norms before and after attention and MLP, soft caps, alternating sliding windows."""

    architecture = "Gemma2ForCausalLM"

    def embedding_ops(self, config: Any) -> tuple[str, ...]:  # noqa: ARG002
        """The normaliser, the square root of the hidden size."""
        return ("Mul",)

    def head_ops(self, config: Any) -> tuple[str, ...]:
        """The soft cap: cap * tanh(logits / cap)."""
        return ("Div", "Tanh", "Mul") if config.final_logit_softcapping else ()
