"""Gemma 3, text only."""

from typing import ClassVar

from lager_onnx.models.families.gemma2 import Gemma2


class Gemma3(Gemma2):
    """Gemma 2 with norms on queries and keys in place of soft caps, and a rotary base of its own a window kind."""

    architecture: ClassVar[str] = "Gemma3ForCausalLM"
