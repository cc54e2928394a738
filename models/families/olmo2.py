"""OLMo 2."""

from lager_onnx.models.families.base import Family


class Olmo2(Family):
    """Norms stand behind attention and MLP; queries and keys are normed; nothing norms a layer's input."""

    architecture = "Olmo2ForCausalLM"
