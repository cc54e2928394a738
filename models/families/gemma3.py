"""Gemma 3, text only."""

from dataclasses import replace
from typing import Any

from lager_onnx.models.attention import Attention
from lager_onnx.models.families.gemma2 import Gemma2


class Gemma3(Gemma2):
    """Gemma 2 with norms on queries and keys in place of soft caps, and another rotary base in windows."""

    architecture = "Gemma3ForCausalLM"

    def attention(self, config: Any, layer: int) -> Attention:
        """Layers with a window turn by the local rotary embedding; no layer is capped, whatever the file says."""
        attention = super().attention(config, layer)
        return replace(attention, rotary="local" if attention.window else "global", softcap=0.0)
