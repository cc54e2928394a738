"""Mistral 7B and Small."""

from lager_onnx.models.families.base import Family


class Mistral(Family):
    """Llama with a sliding window in the first releases."""

    architecture = "MistralForCausalLM"
