"""Checkpoints: every weight comes from the file and none is left out; what cannot be a judge is refused by name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForSequenceClassification
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from lager_onnx import Judge
from lager_onnx.cli import main
from lager_onnx.export import export_judge
from lager_onnx.export.checkpoint import load_checkpoint
from lager_onnx.export.skeleton import with_weights
from lager_onnx.export.sources import find
from lager_onnx.models.errors import CheckpointError
from support.gguf_file import write_gguf
from support.tiny import _COMMON, VARIANTS, make_checkpoint, make_model, make_tokenizer, randomise

RECORD = {"instruction": "Name a prime.", "response": "Seven."}
State = dict[str, torch.Tensor]


@pytest.fixture
def checkpoint(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint"))


def configure(folder: Path, **changes: Any) -> None:
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | changes))


def refused(checkpoint: Path, message: str) -> None:
    """Without verification, too: it is not the comparison with PyTorch that finds it."""
    with pytest.raises(CheckpointError, match=message):
        export_judge(checkpoint, checkpoint.parent / "judge", template="brief", verify_judge=False)
    assert not (checkpoint.parent / "judge").exists()


def renamed(state: State) -> State:
    return {f"_orig_mod.{name}": tensor for name, tensor in state.items()}


def without_head(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if name != "lm_head.weight"}


def without_a_layer(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if "layers.2." not in name}


def without_one_norm(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if name != "model.layers.1.input_layernorm.weight"}


def with_a_surplus_layer(state: State) -> State:
    return state | {name.replace("layers.3", "layers.4"): t.clone() for name, t in state.items() if "layers.3" in name}


def with_a_value_head(state: State) -> State:
    return state | {"v_head.summary.weight": torch.zeros(1, 64)}


def of_another_shape(state: State) -> State:
    return state | {"model.norm.weight": torch.ones(63)}


def with_other_frequencies(state: State) -> State:
    return state | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.linspace(1, 0.5, 8)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed, "lacks lm_head.weight.*torch.compile"),
        (without_head, r"lacks lm_head\.weight\. Without its unembedding"),
        (without_a_layer, r"lacks model\.layers\.2\.input_layernorm\.weight.* and 3 more"),
        (without_one_norm, r"lacks model\.layers\.1\.input_layernorm\.weight\."),
        (with_a_surplus_layer, r"no place for: model\.layers\.4\."),
        (with_a_value_head, r"no place for: v_head\.summary\.weight"),
        (of_another_shape, r"model\.norm\.weight \(63,\) \(expected \(64,\)\)"),
        (with_other_frequencies, r"rotary_emb\.inv_freq"),
    ],
)
def test_weights_are_neither_made_up_nor_dropped(
    change: Callable[[State], State], message: str, checkpoint: Path
) -> None:
    weights = checkpoint / "model.safetensors"
    save_file(change(load_file(weights)), weights, metadata={"format": "pt"})
    refused(checkpoint, message)


def test_the_models_own_frequencies_may_stand_in_every_layer(checkpoint: Path) -> None:
    """As old checkpoints have them."""
    weights = checkpoint / "model.safetensors"
    frequencies = 10_000 ** -(torch.arange(0, 16, 2) / 16)
    save_file(
        load_file(weights) | {f"model.layers.{n}.self_attn.rotary_emb.inv_freq": frequencies.clone() for n in range(4)},
        weights,
        metadata={"format": "pt"},
    )
    assert load_checkpoint(str(checkpoint)).architecture == "LlamaForCausalLM"


def test_two_heads_where_one_is_configured(checkpoint: Path) -> None:
    configure(checkpoint, tie_word_embeddings=True)
    refused(checkpoint, "two different tensors.*tie_word_embeddings")
    weights = checkpoint / "model.safetensors"
    state = load_file(weights)
    save_file(
        state | {"lm_head.weight": state["model.embed_tokens.weight"].clone()}, weights, metadata={"format": "pt"}
    )
    assert load_checkpoint(str(checkpoint)).model.get_output_embeddings() is not None  # the same tensor twice is fine


def test_a_reward_model_is_refused_by_name(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    config = CONFIG_MAPPING["llama"](**(_COMMON | {"vocab_size": len(tokenizer), "num_labels": 1}))
    randomise(AutoModelForSequenceClassification.from_config(config)).save_pretrained(tmp_path / "checkpoint")
    tokenizer.save_pretrained(tmp_path / "checkpoint")
    refused(tmp_path / "checkpoint", "LlamaForSequenceClassification is no causal language model")


def test_an_adapter_is_refused_with_the_way_out(checkpoint: Path) -> None:
    (checkpoint / "adapter_config.json").write_text('{"base_model_name_or_path": "some/base"}')
    refused(checkpoint, "adapter of 'some/base'.*merge_and_unload")


@pytest.mark.parametrize("method", ["awq", "gptq", "bitsandbytes", "compressed-tensors", "fp8", "mxfp4"])
def test_quantised_weights_are_refused_by_method(method: str, checkpoint: Path) -> None:
    configure(checkpoint, quantization_config={"quant_method": method})
    weights = checkpoint / "model.safetensors"
    packed = {"model.layers.0.mlp.up_proj.weight": torch.zeros(48, 64, dtype=torch.uint8)}
    save_file(load_file(weights) | packed, weights, metadata={"format": "pt"})
    refused(checkpoint, f'quantised by {method} .*up_proj.*precision="int8"')


def test_files_that_are_not_there(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    refused(checkpoint, "Git LFS pointer.*git lfs pull")
    (checkpoint / "model.safetensors").write_bytes(b"not safetensors at all")
    refused(checkpoint, "cannot load the checkpoint")
    (checkpoint / "config.json").write_text("{")
    refused(checkpoint, r"config\.json is no JSON")


def test_a_lost_shard_is_named(tiny_checkpoint: Path, checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    model = AutoModelForCausalLM.from_pretrained(tiny_checkpoint)
    model.save_pretrained(checkpoint, max_shard_size="60KB")
    sorted(checkpoint.glob("model-*.safetensors"))[1].unlink()
    refused(checkpoint, "model-00002-of-")


@pytest.mark.parametrize("name", ["GraniteMoeForCausalLM", "GptOssForCausalLM", "SomeMoeForCausalLM"])
def test_other_mixtures_of_experts_are_refused_by_name(name: str, checkpoint: Path) -> None:
    configure(checkpoint, architectures=[name], num_local_experts=8)
    refused(checkpoint, f"{name} is a mixture of 8 experts")


def vision_model(folder: Path, kind: str, config: dict[str, Any]) -> Any:
    torch.manual_seed(7)
    model = AutoModelForImageTextToText.from_config(
        CONFIG_MAPPING[kind](**config), dtype=torch.float32, attn_implementation="eager"
    )
    randomise(model).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return model


TEXT = _COMMON | {"vocab_size": len(make_tokenizer()), "head_dim": 16}
EYES = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
EYES |= {"image_size": 28, "patch_size": 14}
GEMMA3 = {
    "text_config": TEXT | {"model_type": "gemma3_text", "sliding_window": 8, "query_pre_attn_scalar": 16},
    "vision_config": EYES | {"model_type": "siglip_vision_model"},
    "mm_tokens_per_image": 4,
    "image_token_index": 5,
}
LLAVA = {
    "text_config": TEXT | {"model_type": "llama"},
    "vision_config": EYES | {"model_type": "clip_vision_model", "projection_dim": 32},
    "image_token_index": 5,
}


@pytest.mark.parametrize(("kind", "config"), [("gemma3", GEMMA3), ("llava", LLAVA)])
def test_the_text_part_of_a_vision_model_is_the_whole_models(kind: str, config: dict[str, Any], tmp_path: Path) -> None:
    whole = vision_model(tmp_path / "checkpoint", kind, config).eval()
    alone = load_checkpoint(str(tmp_path / "checkpoint"))
    ids = torch.tensor([[7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]])
    with torch.no_grad(), with_weights(alone.model, alone.tensors):
        torch.testing.assert_close(alone.model(ids).logits, whole(input_ids=ids).logits, rtol=1e-4, atol=1e-4)
    spec = export_judge(tmp_path / "checkpoint", tmp_path / "judge", template="brief")
    assert spec.parity is not None


def test_other_vision_models_are_refused_by_name(checkpoint: Path) -> None:
    configure(checkpoint, architectures=["Qwen2_5_VLForConditionalGeneration"])
    refused(checkpoint, "Qwen2_5_VLForConditionalGeneration sees images")


def gguf(folder: Path, variant: str = "llama", **more: Any) -> Path:
    folder.mkdir(exist_ok=True)
    tokenizer = make_tokenizer()
    model = make_model(*VARIANTS[variant], len(tokenizer))
    return write_gguf(folder / "model.gguf", model, tokenizer, **more)


def layer_logits(judge: Path) -> np.ndarray:
    return Judge.load(judge, device="cpu").score([RECORD])[0].layer_logits


def test_a_gguf_judge_is_the_one_of_the_same_weights_in_safetensors(tmp_path: Path) -> None:
    export_judge(gguf(tmp_path), tmp_path / "one", template="brief")
    export_judge(make_checkpoint(tmp_path / "hf", *VARIANTS["llama"]), tmp_path / "other", template="brief")
    np.testing.assert_allclose(layer_logits(tmp_path / "one"), layer_logits(tmp_path / "other"), rtol=1e-4, atol=1e-4)


def test_a_gguf_file_in_parts_is_read_like_a_whole_one(tmp_path: Path) -> None:
    export_judge(gguf(tmp_path / "whole"), tmp_path / "one", template="brief", verify_judge=False)
    first = gguf(tmp_path / "parts", part=15)
    parts = sorted(first.parent.iterdir())
    assert [part.name for part in parts] == [f"model-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    export_judge(first, tmp_path / "other", template="brief", verify_judge=False)
    np.testing.assert_array_equal(layer_logits(tmp_path / "one"), layer_logits(tmp_path / "other"))
    with pytest.raises(CheckpointError, match=r"one part of 3: give the first, whose name ends in -00001-of-00003"):
        export_judge(parts[1], tmp_path / "judge")
    parts[2].unlink()
    with pytest.raises(CheckpointError, match=r"model-00003-of-00003\.gguf is missing"):
        export_judge(first, tmp_path / "judge")


def test_rope_factors_of_a_gguf_file_are_llama_3s_scaling(tmp_path: Path) -> None:
    """llama.cpp stores what rope_type llama3 does to every frequency as a tensor."""
    variant = VARIANTS["llama-rope-scaling"]
    scaled = make_model(*variant, len(make_tokenizer())).model.rotary_emb.inv_freq
    plain = 10_000 ** -(torch.arange(0, 16, 2) / 16)
    factors = {"rope_freqs.weight": (plain / scaled).numpy().astype(np.float32)}
    export_judge(gguf(tmp_path, "llama-rope-scaling", tensors=factors), tmp_path / "one", template="brief")
    export_judge(make_checkpoint(tmp_path / "hf", *variant), tmp_path / "other", template="brief")
    export_judge(gguf(tmp_path / "without", "llama-rope-scaling"), tmp_path / "third", template="brief")
    one, other, unscaled = (layer_logits(tmp_path / name) for name in ("one", "other", "third"))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    assert np.abs(unscaled - other).max() > 0.1  # the factors matter


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"keys": {"split.count": 3}}, "one part of 3: give the first.*--merge"),
        ({"keys": {"llama.rope.scaling.type": "yarn"}}, r"says llama\.rope\.scaling\.type = yarn, which is not read"),
        ({"keys": {"llama.expert_count": 8}}, r"llama\.expert_count = 8"),
        ({"tensors": {"blk.0.attn_q_norm.weight": np.ones(16, np.float32)}}, "attn_q_norm"),
        ({"tensors": {"rope_freqs.weight": np.ones(5, np.float32)}}, "rope factors that this architecture"),
        ({"without": "blk.2.ffn_up.weight"}, r"lacks model\.layers\.2\.mlp\.up_proj\.weight"),
    ],
)
def test_what_a_gguf_file_says_is_read_or_refused(more: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        export_judge(gguf(tmp_path, **more), tmp_path / "judge", verify_judge=False)


def test_names_that_are_no_paths(tmp_path: Path) -> None:
    for name in ("", "a\0b", "x" * 5000, "./nowhere", "~nobody/x/y"):
        with pytest.raises(CheckpointError):
            export_judge(name, tmp_path / "judge")


def test_a_hub_id_that_cannot_be_had_is_an_error_of_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="as a hub id it cannot be downloaded"):
        export_judge("nobody/nothing", tmp_path / "judge")


HUB = ["config.json", "tokenizer.json", "README.md", "original/model.safetensors", "onnx/model.onnx", "tok.model"]


@pytest.mark.parametrize(
    ("weights", "wanted"),
    [
        (
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "pytorch_model.bin"],
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
        ),
        (["model.safetensors", "consolidated.safetensors"], ["model.safetensors"]),
        (["pytorch_model.bin", "tf_model.h5", "flax_model.msgpack"], ["pytorch_model.bin"]),
    ],
)
def test_of_a_hub_id_weights_are_downloaded_once(
    weights: list[str], wanted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def download(_name: str, *, revision: str, allow_patterns: list[str]) -> str:
        assert revision == "main"
        asked.append(allow_patterns)
        return "/somewhere/abc"

    monkeypatch.setattr(find.HfApi, "list_repo_files", lambda _self, _name, revision: [*HUB, *weights])
    monkeypatch.setattr(find, "snapshot_download", download)
    assert find.find_files("org/name", "main").commit == "abc"
    assert sorted(asked[0]) == sorted(["config.json", "tokenizer.json", "tok.model", *wanted])


def test_a_hub_id_of_gguf_files_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find.HfApi, "list_repo_files", lambda _self, _name, revision: ["README.md", "a.Q4_K_M.gguf"])
    with pytest.raises(CheckpointError, match=r"hf download org/name a\.Q4_K_M\.gguf"):
        find.find_files("org/name")


def test_no_exception_of_another_library_leaves_the_command(checkpoint: Path) -> None:
    tokenizer = json.loads((checkpoint / "tokenizer_config.json").read_text())
    for template in ("{{ raise_exception('no') }}", "{% for %}", "{{ messages[7].content }}", "{{ 1 / 0 }}"):
        (checkpoint / "tokenizer_config.json").write_text(json.dumps(tokenizer | {"chat_template": template}))
        (checkpoint / "chat_template.jinja").write_text(template)
        result = CliRunner().invoke(main, ["export", str(checkpoint), str(checkpoint.parent / "judge")])
        assert result.exit_code == 2, result.output
        assert "chat template" in result.stderr
        assert result.stderr.count("\nError: ") <= 1
        assert "Traceback" not in result.output
