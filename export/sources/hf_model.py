"""The decoder that config.json describes, as a class and a configuration of the installed transformers."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, PretrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from lager_onnx.export.sources.check_values import check_fit, check_layers, check_rope_lists, check_values
from lager_onnx.export.sources.hf_config import understood
from lager_onnx.export.sources.known_keys import refuse_unknown
from lager_onnx.export.sources.text_part import is_wrapped, text_content
from lager_onnx.models.cure import Cure
from lager_onnx.models.errors import CheckpointError
from lager_onnx.models.families.internlm3 import MODEL_TYPE as INTERNLM3
from lager_onnx.models.families.internlm3 import as_llama

logger = logging.getLogger(__name__)

_TYPES: Final = ("dtype", "torch_dtype")
_RUN_ITS_CODE: Final = Cure(
    command="run the code that ships with the checkpoint by --trust-remote-code",
    python="run the code that ships with the checkpoint by trust_remote_code=True",
)


@dataclass(frozen=True)
class Described:
    """A decoder as config.json describes it.

    Attributes:
        config: of the decoder alone.
        model: the class that is made from it.
    """

    config: PretrainedConfig
    model: type[PreTrainedModel]


def described(content: Mapping[str, Any]) -> Described:
    """Return the decoder that a config.json describes; of a vision model, its language model.

    Args:
        content: of config.json.

    Raises:
        CheckpointError: a key, a value or a kind of model is unknown, or cannot be; names it.
    """
    wrapped = is_wrapped(content)
    text = understood(text_content(content) if wrapped else content)
    kind: type[PretrainedConfig]
    if text.get("model_type") == INTERNLM3:  # a Llama whose own code is not needed
        text, kind, model = as_llama(text), LlamaConfig, LlamaForCausalLM
    else:
        text = _as_ministral(text) if not wrapped else text
        kind = _config_class(text)
        model = MODEL_FOR_CAUSAL_LM_MAPPING[kind]
    text = {name: value for name, value in text.items() if name not in _TYPES or _is_dtype(value)}
    check_values(text, kind)
    check_rope_lists(text, kind)
    check_layers(text)
    # An unknown null would replace the default that the model's code has.
    text = {name: value for name, value in text.items() if value is not None or name in kind().__dict__}
    config = kind.from_dict(text)
    check_fit(text, config)
    _settle(config)
    refuse_unknown(text, config, model)
    if not wrapped and content.get("model_type") != INTERNLM3:
        _check_architecture(content, model)
    return Described(config, model)


def _settle(config: PretrainedConfig) -> None:
    """Set what the models' code takes for granted.

    That is the size of a head, without which scaled rotary embeddings fail in transformers 4.57, and a pad token within
    the vocabulary: nothing is padded with it here, but PyTorch insists.
    """
    if getattr(config, "head_dim", 0) is None:
        config.head_dim = config.hidden_size // config.num_attention_heads
    size = getattr(config, "vocab_size", None)
    pad = config.pad_token_id
    if isinstance(size, int) and isinstance(pad, int) and not 0 <= pad < size:
        logger.info("    pad_token_id = %d is none of the %d tokens: passed over", pad, size)
        config.pad_token_id = None


def _is_dtype(value: Any) -> bool:
    """Return whether transformers can read a type's name; the tensors say theirs, so nothing is lost without it."""
    return isinstance(value, str) and isinstance(getattr(torch, value, None), torch.dtype)


def _as_ministral(text: dict[str, Any]) -> dict[str, Any]:
    """Return a Mistral with windows in some layers only under the model type by which AutoConfig reads it.

    Mistral's own model passes over `layer_types`. Where all layers are alike, it computes the same.
    """
    kinds = text.get("layer_types")
    if text.get("model_type") != "mistral" or not isinstance(kinds, list):
        return text
    windowed = text.get("sliding_window", MistralConfig().sliding_window) is not None
    if all(kind == ("sliding_attention" if windowed else "full_attention") for kind in kinds):
        return text
    if "ministral" not in CONFIG_MAPPING:
        raise CheckpointError(
            "config.json says model_type = 'mistral' and layer_types that differ, which the installed transformers "
            "passes over: install transformers 4.57 or later"
        )
    return text | {"model_type": "ministral"}


def _config_class(text: Mapping[str, Any]) -> type[PretrainedConfig]:
    name = text.get("model_type")
    if name is not None and not isinstance(name, str):
        raise CheckpointError(f"config.json says model_type = {name!r}; it must be a name in quotation marks")
    if name is None or name not in CONFIG_MAPPING:
        said = f"config.json says model_type = {name!r}, which the installed transformers does not know"
        meant = name.strip().lower().replace("-", "_") if name else ""
        if meant in CONFIG_MAPPING:
            raise CheckpointError(f"{said}: write {meant!r}")
        raise CheckpointError(said, _RUN_ITS_CODE if "auto_map" in text else None)
    kind: type[PretrainedConfig] = CONFIG_MAPPING[name]
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise CheckpointError(f"config.json says model_type = {name!r}, which is no causal language model")
    return kind


def _check_architecture(content: Mapping[str, Any], model: type[PreTrainedModel]) -> None:
    """Refuse a known architecture other than that of the model type, which decides the class."""
    for name in content.get("architectures") or []:
        if name == model.__name__ or (name, model.__name__) == ("MistralForCausalLM", "MinistralForCausalLM"):
            return
        if name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values():
            raise CheckpointError(
                f"config.json says architectures = {name}, and model_type = {content.get('model_type')!r}, which is "
                f"{model.__name__}: correct the wrong one"
            )
        logger.warning("config.json says architectures = %s: read as %s, by its model_type", name, model.__name__)
