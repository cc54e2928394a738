"""SmolLM 3."""

from lager_onnx.models.families.base import Family


class SmolLM3(Family):
    """Llama without rotary positions in every fourth layer."""

    architecture = "SmolLM3ForCausalLM"
