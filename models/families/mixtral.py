"""Mixtral."""

from lager_onnx.models.families.mistral import Mistral


class Mixtral(Mistral):
    """Mistral with experts in place of the MLP."""

    architecture = "MixtralForCausalLM"
