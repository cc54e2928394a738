"""Frequencies of rotary embeddings, computed from a raw config.json: a second witness of what the exporter reads.

It shares no code with the exporter's reading, and knows both the older form (`rope_theta`, `rope_scaling`) and that of
transformers 5 (`rope_parameters`). Formulas: RoFormer (arXiv 2104.09864, eq. 15); linear, as kaiokendev's SuperHOT;
NTK by parts and attention factor of YaRN (arXiv 2309.00071, sections 3.2 to 3.4); LongRoPE (arXiv 2402.13753) with the
attention factor of Phi-3; Llama 3.1 as in meta-llama/llama-models, `apply_scaling`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Turning = tuple[Array, float]

# Defaults of configurations, from the models' documentation: base, and size of a head.
_BASES: Final = {"mixtral": 1e6, "smollm3": 2e6, "gemma3_text": 1e6, "gemma3": 1e6}
_HEADS: Final = {"gemma2": 256, "gemma3_text": 256, "gemma3": 256, "qwen3": 128, "llama": 128, "mistral": 128}
_TEXT_TYPES: Final = {"llava": "llama", "mistral3": "mistral", "ministral3": "mistral", "gemma3": "gemma3_text"}
_LOCAL_BASE: Final = 1e4  # Gemma 3 technical report, section 2


@dataclass(frozen=True)
class Rope:
    """A rotary embedding.

    Attributes:
        base: theta.
        size: dimensions of a head that are turned.
        scaling: kind and numbers of what is done to the frequencies.
        positions: the most that the checkpoint takes; None where its file lacks it.
        original: the most in training, where it is given.
        divisors: of every frequency, (size / 2,), where a file holds them.
    """

    base: float
    size: int
    scaling: Mapping[str, Any]
    positions: int | None
    original: int | None = None
    divisors: Array | None = None


def raw_frequencies(raw: Mapping[str, Any], count: int) -> dict[str, Turning] | None:
    """Return what a prompt of `count` tokens is turned by, by kind of layer; None if the size of a head is not said.

    The first is the angle of one position, (size / 2,), the second what cosines and sines are multiplied by.

    Args:
        raw: config.json as it is.
        count: tokens.

    Raises:
        ValueError: the file names a kind of scaling for which no formula is here.
    """
    read = _read(raw)
    return None if read is None else {kind: _frequencies(rope, count) for kind, rope in read.items()}


def _read(raw: Mapping[str, Any]) -> dict[str, Rope] | None:
    inside = raw.get("text_config") or {}
    facts = {**raw, **{name: value for name, value in inside.items() if value is not None}}
    kind = str(inside.get("model_type") or _TEXT_TYPES.get(str(raw.get("model_type")), raw.get("model_type")))
    new = facts.get("rope_parameters") or {}
    by_layer = {name: value for name, value in new.items() if isinstance(value, Mapping)}
    whole = next((by_layer[name] for name in ("full_attention", "sliding_attention") if by_layer.get(name)), new)
    base = whole.get("rope_theta", facts.get("rope_theta"))
    partial = whole.get("partial_rotary_factor", facts.get("partial_rotary_factor"))
    size = _head_size(facts, kind)
    positions = facts.get("max_position_embeddings")
    if size is None:
        return None
    scaling = whole if set(whole) - {"rope_theta", "partial_rotary_factor"} else facts.get("rope_scaling") or {}
    rope = Rope(
        base=float(_BASES.get(kind, 1e4) if base is None else base),
        size=int(size * (1 if partial is None else partial)),
        scaling=scaling,
        positions=positions,
        original=scaling.get("original_max_position_embeddings") or facts.get("original_max_position_embeddings"),
        divisors=facts.get("frequency_divisors"),
    )
    if kind not in ("gemma3_text", "gemma3"):
        return {"global": rope}
    local = (by_layer.get("sliding_attention") or {}).get("rope_theta") or facts.get("rope_local_base_freq")
    return {"global": rope, "local": Rope(float(local or _LOCAL_BASE), size, {}, positions)}


def _head_size(facts: Mapping[str, Any], kind: str) -> int | None:
    if facts.get("head_dim"):
        return int(facts["head_dim"])
    if kind in ("gemma2", "gemma3_text", "gemma3", "qwen3") and "head_dim" not in facts:
        return _HEADS[kind]
    hidden, heads = facts.get("hidden_size"), facts.get("num_attention_heads")
    if hidden is None and heads is None:
        return _HEADS.get(kind)
    return hidden // heads if isinstance(hidden, int) and isinstance(heads, int) else None


def _frequencies(rope: Rope, count: int) -> Turning:
    plain = rope.base ** -(np.arange(0, rope.size, 2) / rope.size)
    if rope.divisors is not None:
        plain = plain / rope.divisors
    said = rope.scaling
    kind = said.get("rope_type") or said.get("type") or "default"
    if "short_factor" in said:  # under whatever name: su, yarn, longrope
        return _longrope(plain, rope, count)
    if kind == "default" or (kind == "dynamic" and count <= (rope.positions or 0)):
        return plain, 1.0
    if kind == "linear":
        return plain / said["factor"], 1.0
    if kind == "llama3":
        return _llama3(plain, said), 1.0
    if kind == "yarn":
        return _yarn(plain, rope)
    raise ValueError(f"rope type {kind!r}")


def _longrope(plain: Array, rope: Rope, count: int) -> Turning:
    original = rope.original or rope.positions
    if not original or not rope.positions:
        raise ValueError("longrope without max_position_embeddings")
    factors = np.asarray(rope.scaling["long_factor" if count > original else "short_factor"], np.float64)
    longer = rope.positions / original if rope.original else rope.scaling.get("factor", 1.0)
    factor = 1.0 if longer <= 1 else math.sqrt(1 + math.log(longer) / math.log(original))
    return plain / factors, float(rope.scaling.get("attention_factor") or factor)


def _llama3(plain: Array, said: Mapping[str, Any]) -> Array:
    """Long waves are stretched by the factor, short ones not, those between by a share of it."""
    turns = said["original_max_position_embeddings"] * plain / (2 * math.pi)  # in the original context
    low, high = said["low_freq_factor"], said["high_freq_factor"]
    share = np.clip((turns - low) / (high - low), 0, 1)
    stretched: Array = (1 - share) * plain / said["factor"] + share * plain
    return stretched


def _yarn(plain: Array, rope: Rope) -> Turning:
    said = rope.scaling
    original = said.get("original_max_position_embeddings") or rope.positions
    if not original:
        raise ValueError("yarn without max_position_embeddings")

    def dimension(turns: float) -> float:
        """Return the dimension whose frequency turns so often in the original context."""
        return rope.size * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(rope.base))

    low, high = dimension(said.get("beta_fast") or 32), dimension(said.get("beta_slow") or 1)
    if said.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rope.size - 1)
    ramp = np.clip((np.arange(rope.size // 2) - low) / max(high - low, 1e-3), 0, 1)
    return plain / said["factor"] * ramp + plain * (1 - ramp), _yarn_factor(said)


def _yarn_factor(said: Mapping[str, Any]) -> float:
    if said.get("attention_factor") is not None:
        return float(said["attention_factor"])

    def grown(scale: float = 1.0) -> float:
        return 1.0 if said["factor"] <= 1 else 0.1 * scale * math.log(said["factor"]) + 1

    over, under = said.get("mscale"), said.get("mscale_all_dim")
    return grown(over) / grown(under) if over and under else grown()
