"""OLMoE."""

from lager_onnx.models.families.base import Family


class Olmoe(Family):
    """Llama with normed queries and keys, and experts in place of the MLP."""

    architecture = "OlmoeForCausalLM"
