"""Tiny random checkpoints of every family, with randomised norms: all-ones norms hide errors."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

TEXT = [
    "You are a careful judge of answers. Grade the response to the instruction with a score from 1 to 5.",
    "score: good score: bad score: ok The response is good, the answer is bad, this one is ok.",
    "### Instruction\nName the largest planet of the solar system.\n\n### Response\nJupiter is the largest planet.",
]
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
HEAD = 0.1  # with which the scores of the tiny judges that tests share spread over the scale
SPECIAL = ["<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>"]

_COMMON: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}

# name of the variant: (model type, what differs from the common configuration)
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"tie_word_embeddings": False}),
    "llama-tied-biases": ("llama", {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}),
    "llama-rope-scaling": (
        "llama",
        {
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            }
        },
    ),
    "mistral": ("mistral", {"sliding_window": None, "head_dim": 16}),
    "mistral-window": ("mistral", {"sliding_window": 8}),
    "qwen2": ("qwen2", {}),
    "qwen2-window": ("qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 2}),
    "qwen3": ("qwen3", {"head_dim": 16, "tie_word_embeddings": True}),
    "gemma2": (
        "gemma2",
        {
            "head_dim": 16,
            "sliding_window": 8,
            "query_pre_attn_scalar": 16,
            "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 3.0,
        },
    ),
    "gemma2-uncapped": ("gemma2", {"head_dim": 32, "attn_logit_softcapping": None, "final_logit_softcapping": None}),
    "gemma3": (
        "gemma3_text",
        {
            "head_dim": 16,
            "sliding_window": 8,
            "query_pre_attn_scalar": 16,
            "layer_types": None,
            "sliding_window_pattern": 2,
        },
    ),
    "phi3": ("phi3", {"sliding_window": 8}),
    "phi3-longrope": (
        "phi3",
        {
            "original_max_position_embeddings": 128,
            "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.5] * 4, "long_factor": [2.0, 4.0] * 4},
        },
    ),
    "smollm3": ("smollm3", {}),
    "olmo2": ("olmo2", {}),
    "granite": (
        "granite",
        {
            "embedding_multiplier": 3.0,
            "attention_multiplier": 0.2,
            "residual_multiplier": 0.4,
            "logits_scaling": 2.5,
            "tie_word_embeddings": True,
        },
    ),
    "mixtral": ("mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None}),
    "qwen3-moe": (
        "qwen3_moe",
        {"head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
        | {"norm_topk_prob": True, "mlp_only_layers": [1]},
    ),
    "olmoe": ("olmoe", {"num_experts": 4, "num_experts_per_tok": 3, "norm_topk_prob": False}),
}
# Outside the families: a bias in the head, LayerNorm, attention and MLP side by side.
PHI = ("phi", {"partial_rotary_factor": 0.5, "tie_word_embeddings": False})


def make_tokenizer(*, chat_template: str | dict[str, str] | None = CHAT_TEMPLATE) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT * 3, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", additional_special_tokens=SPECIAL[2:]
    )
    fast.chat_template = chat_template
    return fast


def make_model(model_type: str, differences: dict[str, Any], vocabulary: int) -> PreTrainedModel:
    torch.manual_seed(7)
    config = CONFIG_MAPPING[model_type](**(_COMMON | {"vocab_size": vocabulary} | differences))
    return randomise(AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager"))


def randomise(model: PreTrainedModel) -> PreTrainedModel:
    """Random weights, norms and biases, large enough that soft caps and score differences matter."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.25)
            elif "norm" in name and name.endswith("weight"):
                parameter.uniform_(0.5, 1.5)
            else:
                parameter.normal_(0, 0.5)
    return model.eval()


def make_checkpoint(
    folder: Path,
    model_type: str,
    differences: dict[str, Any],
    *,
    head: float = 1.0,
    body: float = 1.0,
    **tokenizer: Any,
) -> Path:
    """A checkpoint, whose unembedding is multiplied by `head`, and the matrices of its layers by `body`.

    With a small head scores spread over the scale; with a small body layers magnify rounding less, as trained ones do.
    """
    fast = make_tokenizer(**tokenizer)
    model = make_model(model_type, differences, len(fast))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and ".layers." in name:
                parameter.mul_(body)
        if head != 1.0:
            model.lm_head.weight *= head
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


INTERNLM3_CODE = """
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM


class InternLM3Config(LlamaConfig):
    model_type = "internlm3"

    def __init__(self, qkv_bias=False, bias=False, **others):
        super().__init__(**others)
        self.qkv_bias, self.bias = qkv_bias, bias


class InternLM3ForCausalLM(LlamaForCausalLM):
    config_class = InternLM3Config

    def __init__(self, config):
        super().__init__(config)
        for layer in self.model.layers:
            for part, names, bias in (
                (layer.self_attn, ("q_proj", "k_proj", "v_proj"), config.qkv_bias),
                (layer.self_attn, ("o_proj",), config.bias),
                (layer.mlp, ("gate_proj", "up_proj", "down_proj"), config.bias),
            ):
                for name in names:
                    old = getattr(part, name)
                    setattr(part, name, nn.Linear(old.in_features, old.out_features, bias=bias))
"""


def make_internlm3(folder: Path, *, qkv_bias: bool, bias: bool) -> tuple[Path, PreTrainedModel]:
    """A checkpoint that ships its code, as InternLM3's do, and its model."""
    scope: dict[str, Any] = {"__name__": "modeling_internlm3"}
    exec(INTERNLM3_CODE, scope)  # the same code that is written beside the weights
    fast = make_tokenizer()
    config = scope["InternLM3Config"](**(_COMMON | {"vocab_size": len(fast), "qkv_bias": qkv_bias, "bias": bias}))
    config._attn_implementation = "eager"
    model = randomise(scope["InternLM3ForCausalLM"](config))
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    (folder / "modeling_internlm3.py").write_text(INTERNLM3_CODE)
    content = json.loads((folder / "config.json").read_text())
    content["auto_map"] = {
        "AutoConfig": "modeling_internlm3.InternLM3Config",
        "AutoModelForCausalLM": "modeling_internlm3.InternLM3ForCausalLM",
    }
    (folder / "config.json").write_text(json.dumps(content))
    return folder, model
