"""Phi-3 and Phi-4."""

from lager_onnx.models.families.base import Family


class Phi3(Family):
    """Llama with merged projections, a sliding window and long-context rotary factors."""

    architecture = "Phi3ForCausalLM"
