"""Read the rotary embedding of a GGUF file's header in the form of a config.json."""

from typing import Any

import numpy as np
from gguf import GGUFReader, dequantize

from lager_onnx.export.sources.gguf_header import value_of

_FACTORS = "rope_freqs.weight"
_TYPES = {"gemma3": "gemma3_text"}


def rope_facts(reader: GGUFReader) -> dict[str, Any]:
    """Return the header's own numbers, defaults as llama.cpp has them; nothing of how transformers reads them.

    `frequency_divisors` are the numbers, (rotary size / 2,), by which the file divides every frequency.
    """
    architecture = value_of(reader, "general.architecture")

    def said(name: str) -> Any:
        return value_of(reader, f"{architecture}.{name}")

    heads, hidden = said("attention.head_count"), said("embedding_length")
    facts: dict[str, Any] = {
        "model_type": _TYPES.get(str(architecture), architecture),
        "max_position_embeddings": said("context_length"),
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "head_dim": said("rope.dimension_count") or said("attention.key_length"),
        "rope_theta": said("rope.freq_base") or 10_000.0,
        "rope_local_base_freq": said("rope.freq_base_swa"),
    }
    kind = said("rope.scaling.type")
    if kind not in (None, "none"):
        facts["rope_scaling"] = {
            "rope_type": kind,
            "factor": said("rope.scaling.factor"),
            "original_max_position_embeddings": said("rope.scaling.original_context_length"),
        }
    factors = next((tensor for tensor in reader.tensors if tensor.name == _FACTORS), None)
    if factors is not None:
        facts["frequency_divisors"] = np.asarray(dequantize(factors.data, factors.tensor_type), np.float64)
    return {name: value for name, value in facts.items() if value is not None}
