"""The decoder that config.json describes, as a class and a configuration of the installed transformers."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformers import LlamaConfig, LlamaForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from lager_onnx.export.sources.check_values import check_fit, check_layers, check_values
from lager_onnx.export.sources.hf_config import understood
from lager_onnx.export.sources.known_keys import refuse_unknown
from lager_onnx.export.sources.text_part import is_wrapped, text_content
from lager_onnx.models.cure import Cure
from lager_onnx.models.errors import CheckpointError
from lager_onnx.models.families.internlm3 import MODEL_TYPE as INTERNLM3
from lager_onnx.models.families.internlm3 import as_llama

logger = logging.getLogger(__name__)


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
        kind = _config_class(text)
        model = MODEL_FOR_CAUSAL_LM_MAPPING[kind]
    check_values(text, kind)
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
    if isinstance(size, int) and isinstance(config.pad_token_id, int) and config.pad_token_id >= size:
        logger.info("    pad_token_id = %d is none of the %d tokens: passed over", config.pad_token_id, size)
        config.pad_token_id = None


def _config_class(text: Mapping[str, Any]) -> type[PretrainedConfig]:
    name = text.get("model_type")
    if not isinstance(name, str) or name not in CONFIG_MAPPING:
        raise CheckpointError(
            f"config.json says model_type = {name!r}, which the installed transformers does not know",
            Cure(
                command="run the code that ships with the checkpoint by --trust-remote-code",
                python="run the code that ships with the checkpoint by trust_remote_code=True",
            ),
        )
    kind: type[PretrainedConfig] = CONFIG_MAPPING[name]
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise CheckpointError(f"config.json says model_type = {name!r}, which is no causal language model")
    return kind


def _check_architecture(content: Mapping[str, Any], model: type[PreTrainedModel]) -> None:
    """Refuse a known architecture other than that of the model type, which decides the class."""
    for name in content.get("architectures") or []:
        if name == model.__name__:
            return
        if name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values():
            raise CheckpointError(
                f"config.json says architectures = {name}, and model_type = {content.get('model_type')!r}, which is "
                f"{model.__name__}: correct the wrong one"
            )
        logger.warning("config.json says architectures = %s: read as %s, by its model_type", name, model.__name__)
