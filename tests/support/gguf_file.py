"""Writes tiny models and tokenisers as GGUF files, as llama.cpp's converter does."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_IN_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_gguf(
    path: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    *,
    keys: dict[str, Any] | None = None,
    tensors: dict[str, np.ndarray] | None = None,
    without: str = "",
    part: int = 0,
    architecture: str = "llama",
    add: Callable[[gguf.GGUFWriter, PreTrainedTokenizerFast], None] | None = None,
) -> Path:
    """`keys` and `tensors` are added; the tensor `without` is left out; `part` tensors go into a file, if it is given.

    `add` writes the tokeniser, if it is no byte-level one. Returns the file, or the first of its parts.
    """
    config = model.config
    writer = gguf.GGUFWriter(path, architecture, split_max_tensors=part)
    writer.add_name("tiny")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_vocab_size(config.vocab_size)
    for key, value in (keys or {}).items():
        kinds = {str: writer.add_string, float: writer.add_float32, int: writer.add_uint32}
        kinds[type(value)](key, value)
    (add or add_tokenizer)(writer, tokenizer)
    renamed = _renamed(model) if architecture == "llama" else _as_they_are(model, architecture)
    for name, tensor in {**renamed, **(tensors or {})}.items():
        if name != without:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return next(iter(sorted(path.parent.glob(f"{path.stem}-00001-of-*.gguf"))), path)


def add_tokenizer(
    writer: gguf.GGUFWriter,
    tokenizer: PreTrainedTokenizerFast,
    *,
    rule: str | None = "smollm",
    kind: str = "gpt2",
) -> None:
    """A byte-level tokeniser: special tokens are of type 3, other added ones of type 4."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    added = {token["content"]: 3 if token["special"] else 4 for token in content["added_tokens"]}
    tokens = [tokenizer.convert_ids_to_tokens(number) for number in range(len(tokenizer))]
    writer.add_tokenizer_model(kind)
    if rule is not None:
        writer.add_tokenizer_pre(rule)
    writer.add_token_list(tokens)
    writer.add_token_types([added.get(token, 1) for token in tokens])
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in content["model"]["merges"]]
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def add_sentencepiece(writer: gguf.GGUFWriter, tokenizer: PreTrainedTokenizerFast, scores: dict[str, float]) -> None:
    """A SentencePiece tokeniser: scores instead of merges; runs of spaces as spaces, as the converter writes them."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    added = {token["content"]: 3 if token["special"] else 4 for token in content["added_tokens"]}
    tokens = [tokenizer.convert_ids_to_tokens(number) for number in range(len(tokenizer))]
    types = [added.get(token, 6 if token.startswith("<0x") else 1) for token in tokens]
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([t.replace("▁", " ") if kind == 4 else t for t, kind in zip(tokens, types, strict=True)])
    writer.add_token_scores([-1000.0 if kind in (3, 4) else scores[t] for t, kind in zip(tokens, types, strict=True)])
    writer.add_token_types(types)
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_unk_token_id(tokenizer.unk_token_id)
    normalizer = json.dumps(content["normalizer"])
    writer.add_add_space_prefix("Prepend" in normalizer)
    writer.add_add_bos_token(content["post_processor"] is not None)
    writer.add_chat_template(tokenizer.chat_template)


def _as_they_are(model: PreTrainedModel, architecture: str) -> dict[str, np.ndarray]:
    """Tensors of the architectures whose rows stay in their order; Gemma's norms are stored with 1 added."""
    kind = next(kind for kind, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(kind, model.config.num_hidden_layers)
    found = {}
    for name, tensor in model.state_dict().items():
        base, end = name.rsplit(".", 1)
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        added = float(architecture.startswith("gemma") and base.endswith("norm"))
        found[f"{names.get_name(base)}.{end}"] = (tensor + added).numpy().astype(np.float32)
    return found


def _renamed(model: PreTrainedModel) -> dict[str, np.ndarray]:
    found = {}
    for name, tensor in model.state_dict().items():
        if name in _NAMES:
            found[_NAMES[name]] = tensor.numpy()
            continue
        _, _, layer, rest = name.split(".", 3)
        part = rest.removesuffix(".weight")
        heads = {
            "self_attn.q_proj": model.config.num_attention_heads,
            "self_attn.k_proj": model.config.num_key_value_heads,
        }.get(part)
        array = _interleaved(tensor, heads) if heads else tensor.numpy()
        found[f"blk.{layer}.{_IN_LAYER[part]}.weight"] = array
    return found


def _interleaved(weight: torch.Tensor, heads: int) -> np.ndarray:
    """Rows of queries or keys in llama.cpp's order: the two halves of a head one by one."""
    out, inner = weight.shape
    return weight.reshape(heads, 2, out // heads // 2, inner).swapaxes(1, 2).reshape(out, inner).numpy()
