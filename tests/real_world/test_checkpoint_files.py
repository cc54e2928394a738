"""Files of checkpoints: leftovers that change nothing are read past, faults are called by their names."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lager_onnx import Judge
from lager_onnx.export import export_judge
from lager_onnx.export.checkpoint import load_checkpoint
from lager_onnx.models.errors import CheckpointError, LagerError
from support.tiny import HEAD, VARIANTS, make_checkpoint

RECORD = {"instruction": "Name a prime.", "response": "Seven."}
BITSANDBYTES = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
State = dict[str, torch.Tensor]


@pytest.fixture
def checkpoint(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint"))


@pytest.fixture(scope="module")
def layer_logits(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Logits of the tiny checkpoint, read as it is."""
    return of_judge(tiny_checkpoint, tmp_path_factory.mktemp("plain") / "judge")


@pytest.fixture(scope="module")
def mistral(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A text-only checkpoint of Mistral, and its logits."""
    at = make_checkpoint(tmp_path_factory.mktemp("mistral") / "checkpoint", *VARIANTS["mistral"], head=HEAD)
    return at, of_judge(at, at.parent / "judge")


def of_judge(checkpoint: Path, judge: Path) -> np.ndarray:
    export_judge(checkpoint, judge, template="brief", verify_judge=False)
    return Judge.load(judge, device="cpu").score([RECORD])[0].layer_logits


def configure(folder: Path, *drop: str, **changes: Any) -> None:
    content = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps({key: value for key, value in content.items() if key not in drop}))


def store(folder: Path, state: State) -> None:
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def tensors(folder: Path) -> State:
    return load_file(folder / "model.safetensors")


def refused(checkpoint: Path, message: str) -> None:
    with pytest.raises(LagerError, match=message):
        export_judge(checkpoint, checkpoint.parent / "judge", template="brief")
    assert not (checkpoint.parent / "judge").exists()


@pytest.mark.parametrize("said", [BITSANDBYTES, {"quant_method": "gptq", "bits": 4}, {"load_in_8bit": True}])
def test_plain_weights_beside_a_quantization_config_are_read(
    said: dict[str, Any], checkpoint: Path, layer_logits: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    configure(checkpoint, quantization_config=said)
    with caplog.at_level(logging.INFO):
        found = of_judge(checkpoint, checkpoint.parent / "judge")
    np.testing.assert_array_equal(found, layer_logits)
    assert "all weights are plain: they are read as they are" in caplog.text
    assert "quantization_config" not in (checkpoint.parent / "judge" / "config.json").read_text()


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("model.layers.0.mlp.down_proj.qweight", torch.zeros(8, 64, dtype=torch.int32)),  # GPTQ, AWQ
        ("model.layers.0.mlp.down_proj.weight.absmax", torch.zeros(48)),  # bitsandbytes in 4 bits
        ("model.layers.0.mlp.down_proj.weight", torch.zeros(1536, 1, dtype=torch.uint8)),  # the same, its weight
        ("model.layers.0.mlp.down_proj.SCB", torch.zeros(64)),  # bitsandbytes in 8 bits
        ("model.layers.0.mlp.down_proj.weight_scale_inv", torch.zeros(1, 1)),  # fp8
        ("model.layers.0.mlp.down_proj.weight", torch.zeros(64, 48).to(torch.float8_e4m3fn)),
        ("model.layers.0.mlp.down_proj.weight_packed", torch.zeros(64, 6, dtype=torch.int32)),  # compressed-tensors
    ],
)
@pytest.mark.parametrize("said", [{"quant_method": "some-method"}, None])
def test_quantised_weights_are_refused_by_tensor(
    name: str, tensor: torch.Tensor, said: dict[str, str] | None, checkpoint: Path
) -> None:
    """Whether config.json says so or not."""
    configure(checkpoint, **({"quantization_config": said} if said else {}))
    store(checkpoint, tensors(checkpoint) | {name: tensor})
    refused(checkpoint, rf"quantised by some.method \({name} is .*precision=\"int8\"")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize(("number", "what"), [(float("inf"), "infinite numbers"), (float("nan"), r"no number \(NaN\)")])
def test_weights_that_are_not_finite_are_named(number: float, what: str, precision: Any, checkpoint: Path) -> None:
    state = tensors(checkpoint)
    state["model.layers.1.mlp.down_proj.weight"][3, 5] = number
    store(checkpoint, state)
    with pytest.raises(CheckpointError, match=rf"^model\.layers\.1\.mlp\.down_proj\.weight holds .*{what}"):
        export_judge(checkpoint, checkpoint.parent / "judge", template="brief", precision=precision, verify_judge=False)


def test_an_embedding_that_is_not_finite_is_named(checkpoint: Path) -> None:
    """It is read in blocks of rows."""
    state = tensors(checkpoint)
    state["model.embed_tokens.weight"][-1, 0] = float("nan")
    store(checkpoint, state)
    refused(checkpoint, r"^model\.embed_tokens\.weight holds what is no number")


def test_a_checkpoint_without_tokenizer_says_so(checkpoint: Path) -> None:
    (checkpoint / "tokenizer.json").unlink()
    refused(checkpoint, r"holds no tokenizer\.json")


def test_a_tensor_without_numbers_is_named(checkpoint: Path) -> None:
    store(checkpoint, tensors(checkpoint) | {"model.norm.weight": torch.zeros(0)})
    refused(checkpoint, r"model\.norm\.weight \(0,\) \(expected \(64,\)\)")


def test_an_embedding_with_fewer_tokens_than_the_tokeniser_is_named(checkpoint: Path) -> None:
    state = tensors(checkpoint)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        state[name] = state[name][:300].clone()
    store(checkpoint, state)
    configure(checkpoint, vocab_size=300)
    refused(checkpoint, r"knows \d+ tokens, .* embedding of 300")


@pytest.mark.parametrize(
    "changes",
    [
        {"architectures": ["Mistral3ForConditionalGeneration"], "model_type": "mistral3"},
        {"architectures": ["Mistral3ForCausalLM"], "model_type": "mistral3"},
        {"architectures": ["MistralForCausalLM"], "model_type": "mistral3"},
        {"architectures": ["Mistral3ForConditionalGeneration"], "model_type": "mistral"},
        {"architectures": ["Ministral3ForCausalLM"], "model_type": "ministral3"},
        {"architectures": ["Mistral3ForConditionalGeneration"], "model_type": "mistral3", "vision_config": None},
    ],
)
def test_a_text_only_mistral_3_is_the_mistral_that_it_is(
    changes: dict[str, Any], mistral: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    at = Path(shutil.copytree(mistral[0], tmp_path / "checkpoint"))
    configure(at, **changes)
    np.testing.assert_array_equal(of_judge(at, tmp_path / "judge"), mistral[1])


@pytest.mark.parametrize("prefix", ["language_model.", "model.language_model.", ""])
def test_its_text_config_may_be_inside(prefix: str, mistral: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    """Also with the names of a vision model, whose vision encoder was taken out."""
    at = Path(shutil.copytree(mistral[0], tmp_path / "checkpoint"))
    inside = json.loads((at / "config.json").read_text())
    inside.pop("architectures")
    whole = {"architectures": ["Mistral3ForConditionalGeneration"], "model_type": "mistral3", "text_config": inside}
    (at / "config.json").write_text(json.dumps(whole | {"quantization_config": BITSANDBYTES}))
    if prefix == "model.language_model.":
        renamed = {name.replace("model.", prefix, 1): tensor for name, tensor in tensors(at).items()}
    else:
        renamed = {prefix + name: tensor for name, tensor in tensors(at).items()}
    store(at, renamed)
    np.testing.assert_array_equal(of_judge(at, tmp_path / "judge"), mistral[1])


def test_a_text_only_gemma_3_is_read(tmp_path: Path) -> None:
    at = make_checkpoint(tmp_path / "checkpoint", *VARIANTS["gemma3"])
    configure(at, architectures=["Gemma3ForConditionalGeneration"], model_type="gemma3")
    assert load_checkpoint(str(at)).architecture == "Gemma3ForCausalLM"
    assert export_judge(at, tmp_path / "judge", template="brief").parity is not None
