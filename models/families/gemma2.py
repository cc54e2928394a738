"""Gemma 2."""

from dataclasses import replace
from typing import Any

from lager_onnx.models.attention import Attention
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

    def attention(self, config: Any, layer: int) -> Attention:
        """Scaled by a number of the configuration's own, and capped."""
        softcap = getattr(config, "attn_logit_softcapping", None) or 0.0
        return replace(super().attention(config, layer), scale=config.query_pre_attn_scalar**-0.5, softcap=softcap)
