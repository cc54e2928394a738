"""Gemma 2."""

from typing import Any

from lager_onnx.models.families.base import Family


class Gemma2(Family):
    """Scaled embedding, norms before and after attention and MLP, soft caps, alternating sliding windows."""

    architecture = "Gemma2ForCausalLM"

    def embedding_ops(self, config: Any) -> tuple[str, ...]:  # noqa: ARG002
        return ("Mul",)

    def head_ops(self, config: Any) -> tuple[str, ...]:
        return ("Div", "Tanh", "Mul") if config.final_logit_softcapping else ()
