"""Completes the configuration that transformers reads from a GGUF file with what it passes over."""

import logging
from typing import Any, Final

from gguf import GGUFReader

from lager_onnx.export.sources.gguf_header import value_of

logger = logging.getLogger(__name__)

# Keys of the header under the architecture's name, and the configuration's names for them.
_NUMBERS: Final = {
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "rope.freq_base_swa": "rope_local_base_freq",
    "attention.key_length": "head_dim",
}
_TOKENS: Final = {"bos": "bos_token_id", "padding": "pad_token_id"}
_ENDS: Final = ("eos", "eot", "eom")  # of a text, a turn, a message
_TURNED: Final = "rope.dimension_count"
_GEMMA: Final = ("gemma2", "gemma3")
_GEMMA_HEAD: Final = 256  # size of a head, and query_pre_attn_scalar, of all Gemma 2 and 3 but the 27B ones
_LAYERS_27B: Final = {"gemma2": 46, "gemma3": 62}


def complete_config(reader: GGUFReader, config: Any) -> None:
    """Set in `config` what transformers does not read from the header.

    That is: ids of named tokens, soft caps, the size of heads, how much of a head is turned, the base of local
    attention's angles, Gemma 3's linear rope scaling, and by what Gemma divides its queries.
    """
    architecture = str(value_of(reader, "general.architecture"))
    for name, key in _TOKENS.items():  # a class's own ids are those of another vocabulary
        setattr(config, key, value_of(reader, f"tokenizer.ggml.{name}_token_id"))
    ends = [value_of(reader, f"tokenizer.ggml.{name}_token_id") for name in _ENDS]
    config.eos_token_id = list(dict.fromkeys(id_ for id_ in ends if id_ is not None)) or None
    for name, key in _NUMBERS.items():
        value = value_of(reader, f"{architecture}.{name}")
        if value is not None and hasattr(config, key):
            setattr(config, key, value)
    turned, size = value_of(reader, f"{architecture}.{_TURNED}"), head_size(config)
    if turned and size and turned != size and hasattr(config, "partial_rotary_factor"):
        config.partial_rotary_factor = turned / size
    if architecture in _GEMMA:
        config.query_pre_attn_scalar = _query_scalar(architecture, config)
    if architecture == "gemma3" and value_of(reader, "gemma3.rope.scaling.type") == "linear":
        config.rope_scaling = {"rope_type": "linear", "factor": value_of(reader, "gemma3.rope.scaling.factor")}


def reads(architecture: str, name: str, value: Any, config: Any) -> bool:
    """Return whether the configuration has the `value` of the key `name` of this architecture's header."""
    if name == _TURNED:
        size = head_size(config)
        return size is None or value == round(size * getattr(config, "partial_rotary_factor", 1.0))
    scaled = architecture == "gemma3" and (getattr(config, "rope_scaling", None) or {}).get("rope_type") == "linear"
    return scaled and name in ("rope.scaling.type", "rope.scaling.factor")


def head_size(config: Any) -> int | None:
    """Return the dimensions of a head; None where the configuration does not say it."""
    hidden, heads = (getattr(config, name, None) for name in ("hidden_size", "num_attention_heads"))
    return getattr(config, "head_dim", None) or (hidden // heads if hidden and heads else None)


def _query_scalar(architecture: str, config: Any) -> float:
    """Return query_pre_attn_scalar, which the format has no key for; llama.cpp knows the 27B models by their layers."""
    if config.num_hidden_layers == _LAYERS_27B[architecture]:
        return float(config.hidden_size / config.num_attention_heads)
    if config.head_dim != _GEMMA_HEAD:
        logger.warning(
            "    note: a GGUF file does not say query_pre_attn_scalar: %d is taken, as in all published %s models but "
            "27B; with another, export the checkpoint's Hugging Face directory",
            _GEMMA_HEAD, architecture,
        )  # fmt: skip
    return float(_GEMMA_HEAD)
