"""Qwen 3 with experts."""

from lager_onnx.models.families.qwen3 import Qwen3


class Qwen3Moe(Qwen3):
    """Qwen 3 with experts in place of the MLP."""

    architecture = "Qwen3MoeForCausalLM"
