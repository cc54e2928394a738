"""SmolLM 3."""

from dataclasses import replace
from typing import Any

from lager_onnx.models.attention import Attention
from lager_onnx.models.families.base import Family


class SmolLM3(Family):
    """Llama without rotary positions in every fourth layer."""

    architecture = "SmolLM3ForCausalLM"

    def attention(self, config: Any, layer: int) -> Attention:
        """Layers marked 0 in `no_rope_layers` do not turn queries and keys."""
        return replace(super().attention(config, layer), rotary="global" if config.no_rope_layers[layer] else None)
