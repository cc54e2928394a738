"""Llama 2 and 3, SmolLM 2 and all that shares the architecture."""

from lager_onnx.models.families.base import Family


class Llama(Family):
    """Pre-norm, rotary positions, grouped queries, gated SiLU, plain unembedding."""

    architecture = "LlamaForCausalLM"
