"""config.json: every key that changes the computation is understood or refused by name; published files pass."""

import sys
from typing import Any

import numpy as np
import pytest

from lager_onnx.export.sources.hf_model import described
from lager_onnx.export.verify.raw_rope import raw_frequencies
from lager_onnx.models.errors import CheckpointError

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 48,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100,
    "max_position_embeddings": 512, "rope_theta": 500000.0, "rms_norm_eps": 1e-5, "hidden_act": "silu",
    "tie_word_embeddings": False, "torch_dtype": "bfloat16", "transformers_version": "4.45.0",
}  # fmt: skip


def of(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return LLAMA | {"model_type": kind, "architectures": [name]} | more


# As they are on the hub, but for the numbers of layers and sizes.
PUBLISHED: dict[str, dict[str, Any]] = {
    "Llama 3.1": of(
        "llama", "LlamaForCausalLM", attention_bias=False, attention_dropout=0.0, bos_token_id=128000,
        eos_token_id=[128001, 128008, 128009], initializer_range=0.02, mlp_bias=False, pretraining_tp=1, use_cache=True,
        rope_scaling={
            "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_type": "llama3",
            "original_max_position_embeddings": 8192,
        },
    ),
    "Llama 3.2 by unsloth": of(
        "llama", "LlamaForCausalLM", _name_or_path="unsloth/x", unsloth_fixed=True, unsloth_version="2024", head_dim=16
    ),
    "Vicuna": of("llama", "LlamaForCausalLM", max_sequence_length=512, pretraining_tp=1, rope_scaling=None),
    "SmolLM2": of(
        "llama", "LlamaForCausalLM", is_llama_config=True, rope_interleaved=False, rope_scaling=None,
        **{"transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16"}}},
    ),
    "SmolLM3": of(
        "smollm3", "SmolLM3ForCausalLM", max_window_layers=28, no_rope_layer_interval=4, no_rope_layers=[1, 0],
        pretraining_tp=2, use_sliding_window=False, sliding_window=None, layer_types=["full_attention"] * 2,
    ),
    "Qwen2.5": of(
        "qwen2", "Qwen2ForCausalLM", max_window_layers=28, sliding_window=131072,
        use_sliding_window=False, use_mrope=False,
    ),
    "Qwen3": of("qwen3", "Qwen3ForCausalLM", head_dim=16, max_window_layers=2, sliding_window=None),
    "Qwen3 MoE": of(
        "qwen3_moe", "Qwen3MoeForCausalLM", head_dim=16, max_window_layers=48, sliding_window=None,
        decoder_sparse_step=1, use_sliding_window=False, mlp_only_layers=[], moe_intermediate_size=32,
        norm_topk_prob=True, num_experts=8,
        num_experts_per_tok=2, output_router_logits=False, router_aux_loss_coef=0.001,
    ),
    "Mistral": of("mistral", "MistralForCausalLM", sliding_window=None, head_dim=16, attention_dropout=0.0),
    "Mistral, yarn": of(
        "mistral", "MistralForCausalLM", sliding_window=4096,
        rope_scaling={"factor": 8.0, "finetuned": True, "original_max_position_embeddings": 64, "type": "yarn"},
    ),
    "Gemma 2": of(
        "gemma2", "Gemma2ForCausalLM", attn_logit_softcapping=50.0, cache_implementation="hybrid", head_dim=16,
        final_logit_softcapping=30.0, hidden_act="gelu_pytorch_tanh", hidden_activation="gelu_pytorch_tanh",
        query_pre_attn_scalar=256, sliding_window=4096, sliding_window_size=4096,
    ),
    "Gemma 3": of(
        "gemma3_text", "Gemma3ForCausalLM", attn_logit_softcapping=None, cache_implementation="hybrid", head_dim=16,
        hidden_activation="gelu_pytorch_tanh", query_pre_attn_scalar=256, rope_local_base_freq=10000,
        sliding_window=512,
        sliding_window_pattern=6, rope_scaling=None,
    )
    | {"hidden_act": "gelu_pytorch_tanh"},
    "Gemma 3 4B": {  # it relies on the defaults of its class
        "architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 255999, "eoi_token_index": 256000,
        "eos_token_id": [1, 106], "image_token_index": 262144, "initializer_range": 0.02, "mm_tokens_per_image": 256,
        "model_type": "gemma3", "torch_dtype": "bfloat16", "transformers_version": "4.50.0.dev0",
        "text_config": {
            "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024,
        },
        "vision_config": {"hidden_size": 1152, "model_type": "siglip_vision_model", "vision_use_head": False},
    },
    "LLaVA 1.5": {
        "architectures": ["LlavaForConditionalGeneration"], "ignore_index": -100, "image_token_index": 32000,
        "model_type": "llava", "pad_token_id": 32001, "projector_hidden_act": "gelu", "tie_word_embeddings": False,
        "text_config": {
            "_name_or_path": "lmsys/vicuna-7b-v1.5", "architectures": ["LlamaForCausalLM"], "model_type": "llama",
            "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "torch_dtype": "float16", "vocab_size": 32064,
        },
        "torch_dtype": "float16", "vision_config": {"hidden_size": 1024, "model_type": "clip_vision_model"},
        "vision_feature_layer": -2, "vision_feature_select_strategy": "default", "vocab_size": 32064,
    },
    "Mistral Small 3.1": {
        "architectures": ["Mistral3ForConditionalGeneration"], "image_token_index": 10, "model_type": "mistral3",
        "multimodal_projector_bias": False, "projector_hidden_act": "gelu", "spatial_merge_size": 2,
        "text_config": {
            "attention_dropout": 0.0, "head_dim": 128, "hidden_act": "silu", "hidden_size": 5120, "use_cache": True,
            "initializer_range": 0.02, "intermediate_size": 32768, "max_position_embeddings": 131072,
            "model_type": "mistral", "num_attention_heads": 32, "num_hidden_layers": 40, "num_key_value_heads": 8,
            "rms_norm_eps": 1e-05, "rope_theta": 1000000000.0, "sliding_window": None, "vocab_size": 131072,
        },
        "torch_dtype": "bfloat16", "vision_config": {"hidden_size": 1024, "model_type": "pixtral"},
        "vision_feature_layer": -1,
    },
    "Phi 3": of(
        "phi3", "Phi3ForCausalLM", auto_map={"AutoConfig": "configuration_phi3.Phi3Config"}, attention_bias=False,
        embd_pdrop=0.0, resid_pdrop=0.0, original_max_position_embeddings=256, sliding_window=2047, bos_token_id=1,
        rope_scaling={"long_factor": [2.0] * 8, "short_factor": [1.0] * 8, "type": "longrope"},
    ),
    "Phi 3, first files": of(
        "phi3", "Phi3ForCausalLM", original_max_position_embeddings=256,
        rope_scaling={"long_factor": [2.0] * 8, "short_factor": [1.0] * 8, "type": "su"},
    ),
    "Phi 4 mini": of(
        "phi3", "Phi3ForCausalLM", full_attn_mod=1, interpolate_factor=1, lm_head_bias=False, mlp_bias=False,
        partial_rotary_factor=0.75, head_dim=32, attention_bias=False, sliding_window=262144,
    ),
    "Granite": of(
        "granite", "GraniteForCausalLM", attention_multiplier=0.0156, embedding_multiplier=12.0, logits_scaling=8.0,
        residual_multiplier=0.22, rope_scaling=None,
    ),
    "OLMo 2": of("olmo2", "Olmo2ForCausalLM", attention_bias=False, rope_scaling=None),
    "Mixtral": of(
        "mixtral", "MixtralForCausalLM", num_experts_per_tok=2, num_local_experts=8, output_router_logits=False,
        router_aux_loss_coef=0.02, sliding_window=None,
    ),
    "OLMoE": of(
        "olmoe", "OlmoeForCausalLM", clip_qkv=None, norm_topk_prob=False, num_experts=8, num_experts_per_tok=2,
        router_aux_loss_coef=0.01, output_router_logits=False,
    ),
    "InternLM 3": of(
        "internlm3", "InternLM3ForCausalLM", auto_map={"AutoConfig": "configuration_internlm3.InternLM3Config"},
        bias=False, qkv_bias=False, head_dim=16, rope_scaling={"factor": 6.0, "rope_type": "dynamic"}, pad_token_id=2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_are_read(name: str) -> None:
    """And their angles are those that the raw file leads to."""
    found = described(PUBLISHED[name])
    inside = PUBLISHED[name].get("text_config", PUBLISHED[name])
    for key in ("hidden_size", "num_hidden_layers", "rope_theta", "max_position_embeddings"):
        assert getattr(found.config, key) == inside.get(key, getattr(found.config, key))
    classes = vars(sys.modules[found.model.__module__])
    rotary = next(made for kind, made in classes.items() if kind.endswith("RotaryEmbedding"))(found.config)
    frequencies, factor = (raw_frequencies(PUBLISHED[name], 256) or {})["global"]
    np.testing.assert_allclose(frequencies, rotary.inv_freq, rtol=1e-5)
    assert factor == pytest.approx(rotary.attention_scaling)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping = 50.0, which LlamaConfig of transformers"),
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping"),
        ({"sliding_window": 8}, "sliding_window = 8"),
        ({"use_qk_norm": True}, "use_qk_norm = True"),
        ({"embedding_multiplier": 12.0}, "embedding_multiplier = 12.0"),
        ({"logit_scale": 0.0625}, "logit_scale = 0.0625"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor = 0.5"),
        ({"rope_parameters": {"rope_theta": 5e5, "partial_rotary_factor": 0.5}}, "partial_rotary_factor = 0.5"),
        ({"no_rope_layers": [1, 0]}, "no_rope_layers"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        ({"is_causal": False}, "is_causal = False"),
        ({"use_rope": False}, "use_rope = False"),
        ({"clip_qkv": 8.0}, "clip_qkv = 8.0"),
        ({"dual_chunk_attention_config": {"chunk_size": 64}}, "dual_chunk_attention_config"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads"),
        ({"is_encoder_decoder": True}, "is_encoder_decoder"),
    ],
)
def test_a_key_that_its_class_does_not_know_is_refused_by_name(more: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        described(LLAMA | more)


@pytest.mark.parametrize(
    "more",
    [
        {"attn_logit_softcapping": None}, {"use_qk_norm": False}, {"embedding_multiplier": 1.0}, {"clip_qkv": 0},
        {"layer_types": ["full_attention"] * 2}, {"sliding_window": 512}, {"partial_rotary_factor": 1.0},
        {"head_dim": None}, {"num_experts": 0}, {"rope_scaling": {"rope_type": "default"}}, {"qkv_bias": False},
    ],
)  # fmt: skip
def test_a_key_that_switches_nothing_on_passes(more: dict[str, Any]) -> None:
    described(LLAMA | more)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"rope_theta": "1e6"}, r"rope_theta = '1e6'; it must be a positive number"),
        ({"rms_norm_eps": "1e-5"}, "rms_norm_eps = '1e-5'"),
        ({"initializer_range": "0.02"}, r"initializer_range = '0.02'; it must be a number, without quotation marks"),
        ({"rope_theta": float("inf")}, "rope_theta = inf; it must be a finite number"),
        ({"rope_scaling": {"rope_type": "linear", "factor": float("nan")}}, r"rope_scaling\.factor = nan"),
        ({"rope_scaling": {"rope_type": "linear", "factor": "2"}}, r"rope_scaling\.factor = '2'"),
        ({"rope_scaling": "linear"}, "rope_scaling = 'linear'; it must be an object"),
        ({"rope_theta": -1e4}, r"rope_theta = -10000.0"),
        ({"num_hidden_layers": 0}, "num_hidden_layers = 0; it must be a whole number, at least 1"),
        ({"hidden_size": 64.0}, "hidden_size = 64.0; it must be a whole number"),
        ({"vocab_size": -1}, "vocab_size = -1"),
        ({"num_attention_heads": True}, "num_attention_heads = True"),
        ({"num_attention_heads": 3}, "hidden_size = 64 and num_attention_heads = 3"),
        ({"num_key_value_heads": 3}, "num_key_value_heads = 3"),
        ({"head_dim": 15}, "head_dim = 15"),
        ({"hidden_act": "swish2"}, "hidden_act = 'swish2'"),
        ({"attention_bias": "false"}, "attention_bias = 'false'; it must be true or false"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings = 'no'; it must be true or false"),
        ({"max_position_embeddings": None}, "max_position_embeddings = None"),
        ({"model_type": "lama"}, "model_type = 'lama'"),
        ({"model_type": None}, "model_type = None"),
        ({"architectures": ["Qwen2ForCausalLM"]}, "architectures = Qwen2ForCausalLM, and model_type = 'llama'"),
    ],
)
def test_values_that_cannot_be_are_refused_by_field(more: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        described(LLAMA | more)


def test_facts_above_text_config_count() -> None:
    inside = {name: value for name, value in LLAMA.items() if name not in ("architectures", "rope_theta")}
    whole = {
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "vision_config": {"hidden_size": 8},
    }
    text = {"rope_theta": 5e5, "text_config": inside, "image_token_index": 5, "vision_feature_layer": -2}
    found = described(whole | text | {"eos_token_id": [7, 9]}).config
    assert (found.rope_theta, found.eos_token_id) == (5e5, [7, 9])
    found = described(
        whole | text | {"rope_parameters": {"rope_theta": 5e5, "rope_type": "linear", "factor": 2.0}}
    ).config
    assert found.rope_scaling == {"rope_type": "linear", "factor": 2.0}
    with pytest.raises(CheckpointError, match=r"rms_norm_eps = 0\.1, and 1e-05 in its text_config"):
        described(whole | text | {"rms_norm_eps": 0.1})
    with pytest.raises(CheckpointError, match=r"attn_logit_softcapping = 50\.0"):
        described(whole | text | {"attn_logit_softcapping": 50.0})


def test_the_text_part_of_an_unknown_vision_model_is_not_taken_for_a_llama() -> None:
    inside = {name: value for name, value in LLAMA.items() if name not in ("model_type", "architectures")}
    with pytest.raises(CheckpointError, match="model_type = 'another_vl', which the installed transformers does not"):
        described({"model_type": "another_vl", "text_config": inside})
    assert described({"model_type": "llava", "text_config": inside}).model.__name__ == "LlamaForCausalLM"
