"""config.json as transformers 5 writes it, in the words that transformers 4.57 understands.

transformers 5 writes all facts of the rotary embedding as `rope_parameters`, which 4.57 passes over without a word.
This file can go as soon as the oldest version that pyproject.toml allows reads `rope_parameters` by itself.
"""

from collections.abc import Mapping
from typing import Any, Final

from lager_onnx.export.sources.hf_rope import DEFAULT, ORIGINAL, read_scaling
from lager_onnx.models.errors import CheckpointError

_NEW: Final = "rope_parameters"
_BESIDE: Final = ("rope_theta", "partial_rotary_factor")
_GLOBAL, _LOCAL = "full_attention", "sliding_attention"
_LOCAL_THETA: Final = "rope_local_base_freq"
_BY_LAYER_TYPE: Final = ("gemma3_text", "gemma3")  # whose windows turn by another base
# Classes of 4.57 that take some kinds only, under their older name `type`.
_ONLY: Final = {"phi3": ("longrope",), "olmo2": ("linear", "dynamic")}


def understood(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a decoder with `rope_theta`, `rope_scaling` and their like, as 4.57 reads them.

    Args:
        content: of config.json, or its `text_config`.

    Raises:
        CheckpointError: a fact of the rotary embedding is unknown, or the two forms disagree; names it.
    """
    kind = str(content.get("model_type"))
    rest = {name: value for name, value in content.items() if name != _NEW}
    old = _old_form(rest, kind)
    parameters = content.get(_NEW)
    if not parameters:
        return rest | old
    if not isinstance(parameters, Mapping):
        raise CheckpointError(f"config.json says {_NEW} = {parameters!r}; it must be an object")
    new = _new_form(parameters, kind, rest)
    for name, value in new.items():
        if name == "rope_scaling" and value is None and old.get(name) is not None:
            raise CheckpointError(
                f"config.json says rope_scaling = {rest[name]!r}, and in {_NEW} no rope type, which means no scaling: "
                "take the wrong one of them out"
            )
        if name in rest and rest[name] is not None and old.get(name, rest[name]) != value:
            raise CheckpointError(
                f"config.json says {name} = {rest[name]!r} and, in {_NEW}, {value!r}: take the wrong one of them out"
            )
    return rest | new


def _old_form(content: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return the scaling in `rope_scaling`, where there is one."""
    if content.get("rope_scaling") is None:
        return {}
    given = content["rope_scaling"]
    if isinstance(given, Mapping):  # what only repeats the fact beside it changes nothing
        given = {name: value for name, value in given.items() if name not in _BESIDE or value != content.get(name)}
    return _scaling(read_scaling(given, "rope_scaling"), kind, content)


def _new_form(parameters: Mapping[str, Any], kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    field = _NEW
    if any(isinstance(value, Mapping) for value in parameters.values()):
        parameters, field, found = _by_layer_type(parameters, kind)
    elif kind in _BY_LAYER_TYPE:
        raise CheckpointError(
            f"config.json says {_NEW} = {dict(parameters)!r}; {kind} turns windows by another base, so it must be an "
            f"object with {_GLOBAL} and {_LOCAL}"
        )
    for name in _BESIDE:
        if parameters.get(name) is not None:
            found[name] = parameters[name]
    others = {name: value for name, value in parameters.items() if name not in _BESIDE}
    if others.get("rope_type", others.get("type")) in (None, DEFAULT):  # said of a default kind, it changes nothing
        others.pop(ORIGINAL, None)
    return found | _scaling(read_scaling(others, field), kind, content)


def _by_layer_type(parameters: Mapping[str, Any], kind: str) -> tuple[Mapping[str, Any], str, dict[str, Any]]:
    """Return the parameters of layers without a window, the name of their field, and the base of those with one."""
    if strange := [name for name in parameters if name not in (_GLOBAL, _LOCAL)]:
        raise CheckpointError(f"config.json says {_NEW}.{strange[0]} = {parameters[strange[0]]!r}, which is not known")
    whole, local = parameters.get(_GLOBAL), parameters.get(_LOCAL)
    if kind not in _BY_LAYER_TYPE:
        if whole and local and whole != local:
            raise CheckpointError(
                f"config.json says {_NEW}.{_GLOBAL} = {whole!r} and .{_LOCAL} = {local!r}: {kind} has one for all"
            )
        return whole or local or {}, f"{_NEW}.{_GLOBAL if whole else _LOCAL}", {}
    found = {}
    if local:
        others = {name: value for name, value in local.items() if name != "rope_theta"}
        if read_scaling(others, f"{_NEW}.{_LOCAL}")["rope_type"] != DEFAULT:
            raise CheckpointError(f"config.json says {_NEW}.{_LOCAL} = {local!r}: there, only the default type is read")
        if "rope_theta" in local:
            found[_LOCAL_THETA] = local["rope_theta"]
    return whole or {}, f"{_NEW}.{_GLOBAL}", found


def _scaling(read: dict[str, Any], kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return `rope_scaling`, and what 4.57 looks for beside it, as far as it is given."""
    rope_type = read.pop("rope_type")
    if rope_type == DEFAULT:
        return {"rope_scaling": None}
    if kind in _ONLY and rope_type not in _ONLY[kind]:
        raise CheckpointError(
            f"config.json says the rope type {rope_type!r}; of {kind}, transformers 4.57 reads "
            f"{', '.join(_ONLY[kind])} only"
        )
    longest, beside = content.get("max_position_embeddings"), {}
    if rope_type == "dynamic" and read.pop(ORIGINAL, longest) != longest:
        raise CheckpointError(
            f"config.json says another {ORIGINAL} than max_position_embeddings for a dynamic rope type"
        )
    if rope_type == "longrope":
        if (original := read.pop(ORIGINAL, content.get(ORIGINAL))) is not None:
            beside = {ORIGINAL: original}
        _settle_factor(read, kind, longest, original)
    named = {"rope_type": rope_type} if kind not in _ONLY else {"type": rope_type}
    if kind == "olmo2":
        read["factor"] = float(read["factor"])  # it insists
    return {"rope_scaling": named | read} | beside


def _settle_factor(read: dict[str, Any], kind: str, longest: Any, original: Any) -> None:
    """Check LongRoPE's `factor`: 4.57 takes the longest context / the original one, 5 takes what is given."""
    if original is None and "factor" not in read and "attention_factor" not in read:
        raise CheckpointError(f"config.json says longrope with neither factor nor {ORIGINAL}: one of them is needed")
    if original is None or not isinstance(longest, int) or not isinstance(original, int):
        return
    if read.get("factor", longest / original) != longest / original:
        raise CheckpointError(
            f"config.json says the factor {read['factor']} of longrope, and {longest} positions, once {original}: "
            "versions of transformers differ in which of them counts"
        )
    read.pop("factor", None)
    if kind == "phi3" and "attention_factor" in read:
        raise CheckpointError(
            f"config.json says attention_factor = {read['attention_factor']} of longrope, which transformers 4.57 does "
            "not read of phi3"
        )
