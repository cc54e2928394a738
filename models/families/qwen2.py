"""Qwen 2 and 2.5."""

from lager_onnx.models.families.base import Family


class Qwen2(Family):
    """Llama with biases on queries, keys and values."""

    architecture = "Qwen2ForCausalLM"
