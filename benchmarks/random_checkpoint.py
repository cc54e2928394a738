"""Writes a checkpoint of random weights with the configuration of a real one, one shard a layer.

    python benchmarks/random_checkpoint.py llama-3.1-8b FOLDER --layers 32

Exporting it takes the memory, the disk and the time that the real one takes; its scores mean nothing.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

_LLAMA_ROPE: Final = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}  # fmt: skip
_LLAMA: Final[dict[str, Any]] = {
    "vocab_size": 128256, "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "rope_scaling": _LLAMA_ROPE,
}  # fmt: skip
# As their config.json have them.
CONFIGURATIONS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "llama-3.1-8b": (
        "llama",
        _LLAMA | {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32},
    ),
    "qwen2.5-14b": (
        "qwen2",
        {"vocab_size": 152064, "hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 48}
        | {"num_attention_heads": 40, "num_key_value_heads": 8, "max_position_embeddings": 32768}
        | {"rms_norm_eps": 1e-6, "rope_theta": 1000000.0},
    ),
    "llama-3.3-70b": (
        "llama",
        _LLAMA | {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64},
    ),
}
_SCORES: Final = 0.3  # standard deviation of a score token's logit


@click.command()
@click.argument("name", type=click.Choice(list(CONFIGURATIONS)))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--layers", type=int, help="How many; all by default.")
@click.option("--tokenizer", type=click.Path(path_type=Path, exists=True), required=True, help="A .gguf file.")
def main(name: str, folder: Path, layers: int | None, tokenizer: Path) -> None:
    """Write a checkpoint of random weights."""
    model_type, options = CONFIGURATIONS[name]
    options |= {"num_hidden_layers": layers or options["num_hidden_layers"]}
    config = CONFIG_MAPPING[model_type](**options, tie_word_embeddings=False, dtype=torch.bfloat16)
    config.architectures = ["LlamaForCausalLM" if model_type == "llama" else "Qwen2ForCausalLM"]
    folder.mkdir(parents=True)
    AutoTokenizer.from_pretrained(tokenizer.parent, gguf_file=tokenizer.name).save_pretrained(folder)
    config.save_pretrained(folder)
    weight_map: dict[str, str] = {}
    torch.manual_seed(0)
    for number, shard in enumerate(_shards(config, biases=model_type == "qwen2")):
        file = f"model-{number + 1:05d}-of-{config.num_hidden_layers + 2:05d}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(shard, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _shards(config: Any, *, biases: bool) -> Iterator[dict[str, torch.Tensor]]:
    hidden, inner, head = config.hidden_size, config.intermediate_size, config.hidden_size // config.num_attention_heads
    queries, keys = config.num_attention_heads * head, config.num_key_value_heads * head
    yield {"model.embed_tokens.weight": _random(config.vocab_size, hidden, size=0.02 * hidden**0.5)}
    for layer in range(config.num_hidden_layers):
        parts = {
            "self_attn.q_proj.weight": _random(queries, hidden),
            "self_attn.k_proj.weight": _random(keys, hidden),
            "self_attn.v_proj.weight": _random(keys, hidden),
            "self_attn.o_proj.weight": _random(hidden, queries, size=0.5),
            "mlp.gate_proj.weight": _random(inner, hidden),
            "mlp.up_proj.weight": _random(inner, hidden),
            "mlp.down_proj.weight": _random(hidden, inner, size=0.5),
            "input_layernorm.weight": _norm(hidden),
            "post_attention_layernorm.weight": _norm(hidden),
        }
        if biases:
            for name, size in (("q", queries), ("k", keys), ("v", keys)):
                parts[f"self_attn.{name}_proj.bias"] = _random(size, 1, size=0.1)[:, 0].contiguous()
        yield {f"model.layers.{layer}.{name}": tensor for name, tensor in parts.items()}
    yield {
        "model.norm.weight": _norm(hidden),
        "lm_head.weight": _random(config.vocab_size, hidden, size=_SCORES),
    }


def _random(outputs: int, inputs: int, *, size: float = 1.0) -> torch.Tensor:
    """Weights whose product with rows of size 1 is of `size`."""
    return torch.empty(outputs, inputs, dtype=torch.bfloat16).normal_(0, size * inputs**-0.5)


def _norm(size: int) -> torch.Tensor:
    return torch.empty(size, dtype=torch.bfloat16).uniform_(0.5, 1.5)


if __name__ == "__main__":
    main()
