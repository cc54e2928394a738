"""The language model inside a vision model: its configuration, and the names of its tensors."""

import re
from collections.abc import Mapping
from typing import Any, Final

from lager_onnx.models.errors import CheckpointError

# The model type of a vision model's configuration, and that of the language model which it has by default.
TEXT_TYPES: Final = {"gemma3": "gemma3_text", "mistral3": "mistral", "llava": "llama", "ministral3": "mistral"}

# What its tensors are called there, before and since transformers 4.52, and what they are called in the model alone.
_NAMES: Final = (
    (re.compile(r"^language_model\.lm_head\."), "lm_head."),
    (re.compile(r"^language_model\.model\."), "model."),
    (re.compile(r"^model\.language_model\."), "model."),
)
# The rest of such a model: eyes, and what leads from them to the language model.
_LEFT_OUT: Final = re.compile(r"^(model\.)?(vision_tower|multi_modal_projector)\.")

# Above text_config, these describe the file as a whole, or the text part's tensors decide them.
_OF_THE_WHOLE: Final = {
    "dtype", "initializer_range", "torch_dtype", "transformers_version", "use_cache", "tie_word_embeddings",
    "vocab_size", "pad_token_id", "bos_token_id",
}  # fmt: skip
_OWN: Final = {"text_config", "vision_config", "architectures", "auto_map", "model_type"}
_OF_THE_VISION_ENCODER: Final = re.compile(
    r"(image|vision|video|visual|mm|boi|eoi|projector|multimodal|spatial|ignore_index)(_.*)?"
)


def is_wrapped(content: Mapping[str, Any]) -> bool:
    """Return whether config.json is a vision model's, even of one without a vision encoder."""
    return isinstance(content.get("text_config"), Mapping) or str(content.get("model_type")) in TEXT_TYPES


def text_content(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of the language model alone.

    That is `text_config` and the facts that are given above it only; or all of config.json, where there is none.

    Raises:
        CheckpointError: a fact above `text_config` differs from the one inside.
    """
    kind = content.get("model_type")
    inside = content.get("text_config")
    if not isinstance(inside, Mapping):
        sees = kind in TEXT_TYPES  # the language model alone may still name what its eyes were
        flat = {
            name: value
            for name, value in content.items()
            if name not in ("text_config", "vision_config") and not (sees and _OF_THE_VISION_ENCODER.fullmatch(name))
        }
        return flat | {"model_type": TEXT_TYPES.get(str(kind), kind)}
    given = {name: value for name, value in inside.items() if value is not None}
    own = inside.get("model_type") or kind
    text = dict(inside) | {"model_type": TEXT_TYPES.get(str(own), own)}
    for name, value in content.items():
        if name in _OWN or name.startswith("_") or _OF_THE_VISION_ENCODER.fullmatch(name) or value is None:
            continue
        if name == "eos_token_id" and name in given:
            text[name] = _union(given[name], value)
        elif name not in given:
            text[name] = value
        elif given[name] != value and name not in _OF_THE_WHOLE:
            raise CheckpointError(
                f"config.json says {name} = {value!r}, and {given[name]!r} in its text_config: take the wrong one out"
            )
    return text


def _union(*ids: Any) -> Any:
    found = [id_ for each in ids for id_ in (each if isinstance(each, list) else [each])]
    unique = list(dict.fromkeys(found))
    return unique if len(unique) > 1 else unique[0]


def name_alone(name: str) -> str | None:
    """What a tensor of a vision model is called in its language model alone; None for what is no part of that."""
    if _LEFT_OUT.match(name):
        return None
    for pattern, replacement in _NAMES:
        if pattern.match(name):
            return pattern.sub(replacement, name)
    return name
