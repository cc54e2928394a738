"""Keys of config.json that the installed transformers does not know: harmless, or refused by name.

transformers keeps an unknown key as an attribute that nothing reads. If it changes what the model computes, both the
judge and the PyTorch model that it is compared with compute something else than was trained.
"""

import inspect
import re
from collections.abc import Mapping
from typing import Any, Final

from transformers import PretrainedConfig, PreTrainedModel
from transformers import __version__ as installed

from lager_onnx.export.sources.hf_rope import ORIGINAL
from lager_onnx.models.cure import Cure
from lager_onnx.models.errors import CheckpointError

# Of files and tools, of training, and of how the same numbers are computed.
_HARMLESS: Final = re.compile(
    r"_.*|unsloth_.*|transformers\.js_config|is_llama_config|auto_map|license|base_model|model_name|name_or_path"
    r"|torch_dtype|dtype|transformers_version|cache_implementation|attn_implementation|use_flash_att(entio)?n.*"
    r"|use_cache|gradient_checkpointing|use_bfloat16|tf_legacy_loss|pretraining_tp|tensor_parallel.*|ep_size"
    r"|.*(dropout|pdrop)(_prob|_rate|_p)?|init_.*|initializer_.*|.*aux_loss.*|z_loss.*|router_jitter_noise"
    r"|seq_length|max_sequence_length|model_max_length|max_seq_len|tokenizer_.*|special_dot_cache|neftune_.*|_?lora_.*"
    r"|ignore_index|keys_to_ignore_at_inference|(pad|eos|bos|unk|sep|cls|mask)_token|summary_.*|merged_models|zero_stage"
)
# Whether there are biases: the files' tensors say so, and each of them must have its place.
_TENSORS_TELL: Final = re.compile(r"(.*_)?bias")
# What is switched off, or multiplies by one.
_OFF: Final[tuple[Any, ...]] = (None, False, 0, "", [], {})
_ONE: Final = re.compile(r".*(multiplier|factor|scale|scaling|_mod)")
# Off means something else than a Llama-like decoder does.
_NOT_OFF: Final = re.compile(r"(is_)?causal|use_(rope|rotary).*|scale_attn.*|partial_rotary_factor|rotary_(pct|dim)")
# What every configuration has, and no decoder that is read here.
_NOT_HERE: Final = ("pruned_heads", "is_encoder_decoder", "add_cross_attention", "cross_attention_hidden_size")
# Other names of what a configuration has.
_ALSO: Final = {
    "hidden_act": "hidden_activation", "hidden_activation": "hidden_act", "activation_function": "hidden_act",
    "sliding_window_size": "sliding_window", "layer_norm_eps": "rms_norm_eps", "layer_norm_epsilon": "rms_norm_eps",
    "norm_eps": "rms_norm_eps", "n_layer": "num_hidden_layers", "n_layers": "num_hidden_layers",
    "n_head": "num_attention_heads", "n_heads": "num_attention_heads", "n_embd": "hidden_size",
    "n_positions": "max_position_embeddings", "rotary_emb_base": "rope_theta", "rope_base": "rope_theta",
    "num_experts": "num_local_experts", "num_local_experts": "num_experts", "activation": "hidden_act",
}  # fmt: skip
# An MLP with a gate, by the name of its activation: every decoder that is read here has the gate.
_GATED: Final = {"swiglu": ("silu", "swish"), "geglu": ("gelu", "gelu_pytorch_tanh", "gelu_new")}
# What a class takes, and its model's code leaves unused in transformers 4.57 or cannot do here.
_LEFT_UNUSED: Final = {
    "gemma3_text": {
        "attn_logit_softcapping": "its model computes attention without the cap",
        "use_bidirectional_attention": "a judge's attention looks back only",
    }
}


def refuse_unknown(content: Mapping[str, Any], config: PretrainedConfig, model: type[PreTrainedModel]) -> None:
    """Refuse keys that neither the configuration's class nor the model's code knows, unless they change nothing.

    Args:
        content: from which `config` was made, as `understood` returns it.
        config: the configuration.
        model: the class that is made from it.

    Raises:
        CheckpointError: names the key, its value, and the class.
    """
    for key, why in _LEFT_UNUSED.get(config.model_type, {}).items():
        if content.get(key) not in (None, False):
            raise CheckpointError(
                f"config.json says {key} = {_short(content[key])}, which {model.__name__} of transformers {installed} "
                f"cannot be exported with: {why}. If the checkpoint was trained without it, take it out of config.json"
            )
    for key, value in content.items():
        if key not in _NOT_HERE and _is_known(key, config, model):
            continue
        if _changes_nothing(key, value, content, config):
            continue
        raise CheckpointError(
            f"config.json says {key} = {_short(value)}, which {type(config).__name__} of transformers {installed} does "
            f"not know, so {model.__name__} would compute without it",
            Cure(command=_what_to_do("--trust-remote-code"), python=_what_to_do("trust_remote_code=True")),
        )


def _is_known(key: str, config: PretrainedConfig, model: type[PreTrainedModel]) -> bool:
    """Return whether the class takes the key by name, or the model's code reads it from its configuration."""
    kind = type(config)
    if (
        key == "model_type"
        or (key == ORIGINAL and (getattr(config, "rope_scaling", None) or {}).get("rope_type") == "longrope")
        or key in PretrainedConfig().__dict__
        or key in PretrainedConfig._get_global_generation_defaults()
    ):
        return True
    classes = [each for each in kind.__mro__ if issubclass(each, PretrainedConfig)]
    if key in kind.attribute_map or any(key in inspect.signature(each).parameters for each in classes):
        return True
    modules = {inspect.getmodule(each) for each in (model, *classes) if each is not PretrainedConfig}
    reads = re.compile(rf"""config\.{re.escape(key)}\b|["']{re.escape(key)}["']""")
    return any(reads.search(inspect.getsource(module)) for module in modules if module is not None)


def _changes_nothing(key: str, value: Any, content: Mapping[str, Any], config: PretrainedConfig) -> bool:
    if _HARMLESS.fullmatch(key) or (_TENSORS_TELL.fullmatch(key) and isinstance(value, bool)):
        return True
    if _NOT_OFF.fullmatch(key):
        return value in (None, 1)
    if value in _OFF or (_ONE.fullmatch(key) and value == 1):
        return True
    if key in _ALSO:
        same = getattr(config, _ALSO[key], None)
        if value == same or (isinstance(value, str) and same in _GATED.get(value.lower(), ())):
            return True
    return _window_unused(key, value, content, config)


def _window_unused(key: str, value: Any, content: Mapping[str, Any], config: PretrainedConfig) -> bool:
    """Return whether the key is of sliding windows that this checkpoint does not use, or has in every layer."""
    if key == "max_window_layers":
        return not content.get("use_sliding_window")
    if key == "sliding_window":
        longest = getattr(config, "max_position_embeddings", 0)
        return content.get("use_sliding_window") is False or (isinstance(value, int) and value >= longest)
    if key == "layer_types" and isinstance(value, list):
        windowed = getattr(config, "sliding_window", None) is not None
        return set(value) == {"sliding_attention" if windowed else "full_attention"}
    return False


def _what_to_do(trust: str) -> str:
    return (
        "if it changes nothing, take it out of config.json; if it does, export with the code that reads it "
        f"({trust}), or export another checkpoint"
    )


def _short(value: Any) -> str:
    said = repr(value)
    return said if len(said) <= 80 else said[:77] + "..."
