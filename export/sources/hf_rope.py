"""The names inside `rope_scaling` and `rope_parameters`, by kind of rotary embedding: read, or refused by name.

transformers warns of what it does not know there, and computes without it.
"""

import logging
import math
from collections.abc import Mapping
from typing import Any, Final

from lager_onnx.models.errors import CheckpointError

logger = logging.getLogger(__name__)

ORIGINAL: Final = "original_max_position_embeddings"
DEFAULT: Final = "default"

# What transformers 4.57 reads of every kind (`modeling_rope_utils.py`); those that it cannot do without.
_NEEDED: Final[dict[str, tuple[str, ...]]] = {
    DEFAULT: (),
    "linear": ("factor",),
    "dynamic": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", ORIGINAL),
    "yarn": ("factor",),
    "longrope": ("short_factor", "long_factor"),
}
_OPTIONAL: Final[dict[str, tuple[str, ...]]] = {
    "dynamic": (ORIGINAL,),
    "yarn": (ORIGINAL, "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"),
    "longrope": (ORIGINAL, "factor", "attention_factor"),
}
_LISTS: Final = ("short_factor", "long_factor")
_KINDS: Final = ("rope_type", "type")
_ALIASES: Final = {"su": "longrope"}
_ATTN: Final = "attn_factor"  # vLLM multiplies by it
_NEUTRAL: Final = {_ATTN: 1, "extrapolation_factor": 1, "factor": 1}  # they multiply


def read_scaling(given: Any, field: str) -> dict[str, Any]:
    """Return the kind of a rotary embedding as `rope_type`, with the numbers of that kind.

    Args:
        given: the field's value; None for the default kind.
        field: its name in config.json.

    Raises:
        CheckpointError: an unknown kind, an unknown name, or a value that is no number; names it.
    """
    if given is None:
        return {"rope_type": DEFAULT}
    if not isinstance(given, Mapping):
        raise CheckpointError(f"config.json says {field} = {given!r}; it must be an object, or null")
    kind = _kind(given, field)
    known = (*_NEEDED[kind], *_OPTIONAL.get(kind, ()))
    read: dict[str, Any] = {"rope_type": kind}
    for name, value in given.items():
        if name in _KINDS or value is None:
            continue
        if name in known:
            read[name] = _checked(name, value, f"{field}.{name}")
        elif name == _ATTN and kind == "yarn":  # as published beside DeepSeek-R1-0528-Qwen3-8B
            _checked(name, value, f"{field}.{name}")
            logger.warning(
                "    note: config.json says %s.%s = %s; transformers computes without it, and so does the judge",
                field, name, value,
            )  # fmt: skip
        elif value is not False and name != "finetuned" and _NEUTRAL.get(name) != value:
            raise CheckpointError(
                f"config.json says {field}.{name} = {value!r}, which is not supported for the rope type {kind!r} "
                f"(known: {', '.join(known) or 'nothing more'}). Without it the checkpoint would compute something else"
            )
    if missing := [name for name in _NEEDED[kind] if name not in read]:
        raise CheckpointError(f"config.json says {field} of type {kind!r} without {', '.join(missing)}")
    return read


def _kind(given: Mapping[str, Any], field: str) -> str:
    for name in _KINDS:
        if not isinstance(given.get(name), str | None):
            raise CheckpointError(f"config.json says {field}.{name} = {given[name]!r}; it must be a name")
    said = {_ALIASES.get(value, value) for name in _KINDS if (value := given.get(name)) is not None}
    if len(said) > 1:
        raise CheckpointError(
            f"config.json says {field}.rope_type = {given['rope_type']!r} and .type = {given['type']!r}"
        )
    kind = said.pop() if said else DEFAULT
    if kind == "yarn" and set(_LISTS) <= given.keys():  # as the first Phi-3 files call it
        kind = "longrope"
    if kind not in _NEEDED:
        raise CheckpointError(
            f"config.json says {field} of type {kind!r}, which is not supported; {', '.join(_NEEDED)} are"
        )
    return str(kind)


def _checked(name: str, value: Any, field: str) -> Any:
    if name == "truncate":
        if not isinstance(value, bool):
            raise CheckpointError(f"config.json says {field} = {value!r}; it must be true or false")
        return value
    numbers = value if name in _LISTS else [value]
    if not isinstance(numbers, list) or not numbers:
        raise CheckpointError(f"config.json says {field} = {value!r}; it must be a list of numbers")
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < math.inf:
            raise CheckpointError(f"config.json says {field} = {value!r}; it must be a positive number")
    return value
