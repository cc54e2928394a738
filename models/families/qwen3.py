"""Qwen 3."""

from lager_onnx.models.families.base import Family


class Qwen3(Family):
    """Llama with an RMS norm on every query and key head."""

    architecture = "Qwen3ForCausalLM"
