"""Refuse impossible numbers in config.json: text, not finite, not positive, or not fitting each other."""

import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeGuard

from transformers import PretrainedConfig
from transformers.activations import ACT2FN
from transformers.configuration_utils import ALLOWED_LAYER_TYPES

from lager_onnx.models.errors import CheckpointError

# Whole and at least 1.
_COUNTS: Final = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "max_position_embeddings", "num_local_experts", "num_experts", "num_experts_per_tok", "moe_intermediate_size",
)  # fmt: skip
# The same, or null.
_MAYBE: Final = ("num_key_value_heads", "head_dim", "sliding_window", "original_max_position_embeddings")
_POSITIVE: Final = (
    "rope_theta", "rope_local_base_freq", "rms_norm_eps", "partial_rotary_factor", "query_pre_attn_scalar",
    "logits_scaling", "attention_multiplier",
)  # fmt: skip


def check_values(content: Mapping[str, Any], kind: type[PretrainedConfig]) -> None:
    """Refuse impossible numbers, by the name of their field.

    Args:
        content: the decoder's, as `understood` returns it.
        kind: the class that will be made from it.

    Raises:
        CheckpointError: names the field, its value, and what it must be.
    """
    for field, number in _floats("", content):
        if not math.isfinite(number):
            _refuse(field, number, "a finite number")
    known = inspect.signature(kind.__init__).parameters
    for name in (*_COUNTS, *_MAYBE):
        value = content.get(name)
        if not value and name not in known:  # such as no experts
            continue
        if name in content and not (name in _MAYBE and value is None) and not (_is_int(value) and value > 0):
            _refuse(name, value, "a whole number, at least 1" + (", or null" if name in _MAYBE else ""))
    for name in _POSITIVE:
        if name in content and not (_is_number(content[name]) and content[name] > 0):
            _refuse(name, content[name], "a positive number")
    for name, parameter in known.items():
        value = content.get(name)
        if isinstance(value, str) and _is_number(parameter.default):
            _refuse(name, value, "a number, without quotation marks")
        if isinstance(value, str | int | float) and not isinstance(value, bool) and isinstance(parameter.default, bool):
            _refuse(name, value, "true or false")


def check_fit(content: Mapping[str, Any], config: PretrainedConfig) -> None:
    """Refuse numbers that do not fit each other, defaults of the class included.

    Raises:
        CheckpointError: names them.
    """
    hidden, heads = (getattr(config, name, None) for name in ("hidden_size", "num_attention_heads"))
    size, groups = (getattr(config, name, None) for name in ("head_dim", "num_key_value_heads"))
    if _is_int(hidden) and _is_int(heads) and not content.get("head_dim") and hidden % heads:
        raise CheckpointError(
            f"config.json says hidden_size = {hidden} and num_attention_heads = {heads}: the heads must divide it, or "
            "head_dim must be said"
        )
    if _is_int(heads) and _is_int(groups) and heads % groups:
        raise CheckpointError(
            f"config.json says num_attention_heads = {heads} and num_key_value_heads = {groups}: it must divide them"
        )
    size = size or (hidden // heads if _is_int(hidden) and _is_int(heads) else None)
    share = getattr(config, "partial_rotary_factor", None)
    if _is_int(size) and (turned := int(size * (1.0 if share is None else share))) % 2:
        part = "" if share in (None, 1) else f", of which partial_rotary_factor = {share} is {turned}"
        raise CheckpointError(
            f"config.json says head_dim = {size} (or hidden_size / num_attention_heads){part}: rotary embeddings turn "
            "pairs of dimensions"
        )
    known = inspect.signature(type(config).__init__).parameters
    for name in ("hidden_act", "hidden_activation"):
        activation = content.get(name)
        if name in content and activation is None and name in known and known[name].default is not None:
            _refuse(name, activation, "an activation that transformers knows, such as 'silu'")
        if activation is not None and (not isinstance(activation, str) or activation not in ACT2FN):
            _refuse(name, activation, "an activation that transformers knows, such as 'silu'")
    chosen, experts = getattr(config, "num_experts_per_tok", None), getattr(config, "num_experts", None)
    experts = experts or getattr(config, "num_local_experts", None)
    if _is_int(chosen) and _is_int(experts) and chosen > experts > 0:
        raise CheckpointError(f"config.json says num_experts_per_tok = {chosen} of {experts} experts")
    windowed = "sliding_attention" in (content.get("layer_types") or ())
    if windowed and getattr(config, "sliding_window", 0) is None:
        raise CheckpointError(
            "config.json says layer_types with 'sliding_attention', and no window for it: set sliding_window (and "
            "use_sliding_window = true, where there is one), or write 'full_attention'"
        )


def check_rope_lists(content: Mapping[str, Any], kind: type[PretrainedConfig]) -> None:
    """Refuse factors of LongRoPE that are not one for every pair of dimensions that is turned.

    Args:
        content: the decoder's, as `understood` returns it.
        kind: the class that will be made from it.

    Raises:
        CheckpointError: names the list, its length, and what it must be.
    """

    def fact(name: str) -> Any:
        known = inspect.signature(kind.__init__).parameters
        default = known[name].default if name in known else None
        return default if content.get(name) is None else content[name]

    hidden, heads, size = fact("hidden_size"), fact("num_attention_heads"), fact("head_dim")
    size = size or (hidden // heads if _is_int(hidden) and _is_int(heads) and heads else None)
    share = fact("partial_rotary_factor")
    if not _is_int(size) or not _is_number(1 if share is None else share):
        return
    pairs = int(size * (1 if share is None else share)) // 2
    for name, value in (content.get("rope_scaling") or {}).items():
        if isinstance(value, list) and len(value) != pairs:
            raise CheckpointError(
                f"config.json says {len(value)} numbers in rope_scaling.{name}; it must be {pairs}, half of the "
                "dimensions of a head that are turned"
            )


def check_layers(content: Mapping[str, Any]) -> None:
    """Refuse a list of layer types that is not one for every layer.

    Raises:
        CheckpointError: names them.
    """
    kinds, layers = content.get("layer_types"), content.get("num_hidden_layers")
    if kinds is None:
        return
    if not isinstance(kinds, list) or (strange := [kind for kind in kinds if kind not in ALLOWED_LAYER_TYPES]):
        _refuse("layer_types", kinds if not isinstance(kinds, list) else strange[0], " or ".join(ALLOWED_LAYER_TYPES))
    if _is_int(layers) and len(kinds) != layers:
        raise CheckpointError(f"config.json says {len(kinds)} layer_types for {layers} layers (num_hidden_layers)")


def _refuse(field: str, value: Any, must: str) -> None:
    raise CheckpointError(f"config.json says {field} = {value!r}; it must be {must}")


def _floats(field: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, float):
        yield field, value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _floats(f"{field}.{name}" if field else str(name), each)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _floats(f"{field}[{index}]", each)


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
