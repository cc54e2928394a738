"""Ministral: Mistral with sliding windows in some layers."""

from lager_onnx.models.families.base import Family


class Ministral(Family):
    """Llama with a sliding window in the layers that `layer_types` says."""

    architecture = "MinistralForCausalLM"
