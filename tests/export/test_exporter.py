"""`lager export`: options, refusals, and nothing left behind."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from click.testing import CliRunner
from transformers import AutoConfig, AutoModelForCausalLM

from lager_onnx import Judge
from lager_onnx.cli import main
from lager_onnx.export import export_judge, exporter
from lager_onnx.export.sources.tensors import StateDict
from lager_onnx.export.trace import trace
from lager_onnx.export.weights import array_of
from lager_onnx.models.errors import CheckpointError, ExportError, OutputError, VerificationError
from lager_onnx.models.families.llama import Llama
from lager_onnx.models.spec import JudgeSpec
from support.tiny import VARIANTS, make_checkpoint


def nothing_left(folder: Path) -> bool:
    return not any(path.name != "checkpoint" for path in folder.iterdir())


def test_every_option_reaches_the_judge(tiny_checkpoint: Path, tmp_path: Path) -> None:
    template = tmp_path / "mine.txt"
    template.write_text("{question}\n\n{answer_text}")
    arguments = f"export {tiny_checkpoint} {tmp_path / 'judge'} --scale bad=0,ok=1,good=2 --lens norm --layers 0,-1"
    arguments += f" --template {template} --precision bf16"
    result = CliRunner().invoke(main, arguments.split())
    assert result.exit_code == 0, result.output
    spec = JudgeSpec.load(tmp_path / "judge")
    assert spec.scale.labels == ("bad", "ok", "good")
    assert spec.precision == "bf16"
    assert spec.layer_weights == (0, 0, 0, 0, 0, 0.5, 0, 0, 0, 0.5)
    assert spec.weights_origin == "untuned: uniform over 2 of 5 layers, lens norm"
    assert spec.template.text == "{question}\n\n{answer_text}"
    assert spec.score_tokens == (" bad", " ok", " good")
    (grade,) = Judge.load(tmp_path / "judge", device="cpu").score([{"question": "Well?", "answer_text": "Yes."}])
    logits = (grade.layer_logits[5] + grade.layer_logits[9]) / 2
    probabilities = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(grade.distribution, probabilities, atol=1e-6)
    assert grade.score == pytest.approx(float(probabilities @ [0, 1, 2]), abs=1e-5)


def test_it_says_what_it_does_and_how_long_it_took(tiny_checkpoint: Path, tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.INFO, logger="lager_onnx")
    export_judge(tiny_checkpoint, tmp_path / "judge")
    said = (
        "Load",
        "Read the graph of LlamaForCausalLM, 4 layers",
        "Rewrite",
        "Write",
        "Verify",
        "largest differences",
        " s",
    )
    for step in said:
        assert step in caplog.text
    card = (tmp_path / "judge" / "README.md").read_text()
    assert "LlamaForCausalLM, 4 layers" in card
    assert "verified against PyTorch" in card
    assert {file.name for file in (tmp_path / "judge").iterdir()} >= {
        "model.onnx",
        "judge.json",
        "tokenizer.json",
        "config.json",
    }
    # Whoever is given the judge need not know where the checkpoint lay.
    for file in ("README.md", "judge.json", "config.json", "tokenizer.json"):
        assert str(tiny_checkpoint.parent) not in (tmp_path / "judge" / file).read_text()
    assert AutoConfig.from_pretrained(tmp_path / "judge").num_hidden_layers == 4


def test_a_sharded_checkpoint(tiny_checkpoint: Path, tiny_judge: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_checkpoint)
    model.save_pretrained(tmp_path / "checkpoint", max_shard_size="40KB")
    assert len(list((tmp_path / "checkpoint").glob("*.safetensors"))) > 1
    for file in tiny_checkpoint.iterdir():
        if "model" not in file.name:
            (tmp_path / "checkpoint" / file.name).write_bytes(file.read_bytes())
    export_judge(tmp_path / "checkpoint", tmp_path / "judge", template="brief")
    record = {"instruction": "Name a prime.", "response": "Seven."}
    one, other = (Judge.load(path, device="cpu").score([record])[0] for path in (tmp_path / "judge", tiny_judge))
    assert one.score == pytest.approx(other.score, abs=1e-4)


@pytest.mark.parametrize(("precision", "dtype"), [("fp16", "FLOAT16"), ("bf16", "BFLOAT16")])
def test_16_bit_bodies_halve_the_matrices_and_keep_the_head(
    precision, dtype: str, tiny_checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    export_judge(tiny_checkpoint, tmp_path / "judge", precision=precision)
    assert not [record for record in caplog.records if record.name.startswith("onnx_ir")]  # every type is known
    initializers = ir.load(tmp_path / "judge" / "model.onnx").graph.initializers
    assert initializers["model.embed_tokens.weight"].dtype.name == dtype
    assert initializers["lager.unembedding"].dtype.name == "FLOAT"
    for name, value in initializers.items():
        if value.dtype.is_floating_point():
            in_16_bits = len(value.shape or ()) == 2 and not name.startswith("lager.")
            assert value.dtype.name == (dtype if in_16_bits else "FLOAT"), name
    assert {"attention.0.qkv", "lager.unembedding", "lager.cos.global"} <= set(initializers)
    record = {"instruction": "Name a prime.", "response": "Seven."}
    export_judge(tiny_checkpoint, tmp_path / "fp32", verify_judge=False)
    got, expected = (Judge.load(tmp_path / name, device="cpu").score([record])[0] for name in ("judge", "fp32"))
    apart = np.abs(got.layer_logits - expected.layer_logits).max() / np.abs(expected.layer_logits).max()
    assert 1e-6 < apart < (1e-2 if precision == "fp16" else 1e-1)  # rounded, and not far


def test_tracing_leaves_the_model_as_it_was(tiny_checkpoint: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_checkpoint, attn_implementation="eager").eval()
    ids = torch.tensor([[5, 6, 7]])
    before = model(ids).logits
    trace(model, StateDict(model.state_dict()), (7, 8), tmp_path)
    torch.testing.assert_close(model(ids).logits, before, rtol=0, atol=0)


def test_a_judge_that_disagrees_is_refused_and_leaves_nothing(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch
) -> None:
    rewrite = exporter.rewrite

    def spoil(graph: ir.Model, *others) -> None:
        rewrite(graph, *others)
        head = graph.graph.initializers["lager.unembedding"]
        head.const_value = ir.tensor(head.const_value.numpy() * np.float32(1.002))

    monkeypatch.setattr(exporter, "rewrite", spoil)
    with pytest.raises(VerificationError, match=r"layer logits by 2\.00e-03"):
        export_judge(tiny_checkpoint, tmp_path / "judge")
    assert nothing_left(tmp_path)
    spec = export_judge(tiny_checkpoint, tmp_path / "judge", verify_judge=False)
    assert spec.parity is None
    assert "| verified against PyTorch | no |" in (tmp_path / "judge" / "README.md").read_text()


def test_graph_and_family_must_agree(tiny_checkpoint: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Llama, "head_ops", lambda _self, _config: ("Tanh",))
    with pytest.raises(ExportError, match=r"after the unembedding the graph has \(\)"):
        export_judge(tiny_checkpoint, tmp_path / "judge")
    assert nothing_left(tmp_path)


def test_a_judge_is_replaced_only_when_asked(tiny_judge: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="overwrite=True"):
        export_judge(tiny_checkpoint, tiny_judge)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious")
    with pytest.raises(OutputError, match="no judge folder"):
        export_judge(tiny_checkpoint, tmp_path / "thesis", overwrite=True)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "precious"
    export_judge(tiny_checkpoint, tmp_path / "judge", scale="1-3")
    export_judge(tiny_checkpoint, tmp_path / "judge", scale="1-9", overwrite=True)
    assert len(JudgeSpec.load(tmp_path / "judge").scale.labels) == 9


def test_checkpoints_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        export_judge(tmp_path / "nowhere", tmp_path / "judge")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(CheckpointError, match=r"no \.gguf"):
        export_judge(tmp_path / "notes.txt", tmp_path / "judge")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF....")
    with pytest.raises(CheckpointError, match="cannot load"):
        export_judge(tmp_path / "broken.gguf", tmp_path / "judge")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="cannot load"):
        export_judge(tmp_path / "empty", tmp_path / "judge")
    assert not (tmp_path / "judge").exists()


def test_errors_on_the_command_line_are_one_paragraph(tiny_checkpoint: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["export", str(tiny_checkpoint), str(tmp_path / "judge"), "--scale", "1-10"])
    assert result.exit_code == 2
    assert "the label '10' is not a single token" in result.stderr
    assert "['1', '0']" in result.stderr
    assert "Traceback" not in result.output
    assert nothing_left(tmp_path)


def test_a_base_model_is_asked_in_plain_text(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", *VARIANTS["qwen2"], chat_template=None)
    export_judge(checkpoint, tmp_path / "judge")
    prompt = Judge.load(tmp_path / "judge", device="cpu").prompt({"instruction": "Why?", "response": "So."})
    assert prompt.startswith("You are a careful judge")
    assert prompt.endswith("Your grade from 1 to 5\n\nscore: ")


def test_judge_json_is_plain_json(tiny_judge: Path) -> None:
    content = json.loads((tiny_judge / "judge.json").read_text())
    assert content["format"] == "lager-onnx judge"
    assert content["checksums"].keys() >= {"model.onnx", "tokenizer.json"}
    assert content["versions"].keys() >= {"torch", "transformers", "onnxruntime"}


def test_of_a_file_only_the_tensor_is_mapped_that_is_read(tiny_judge: Path, tmp_path: Path) -> None:
    """onnx_ir would map the whole file once a tensor, and keep it."""
    judge = Path(shutil.copytree(tiny_judge, tmp_path / "judge"))  # onnx_ir reads no file with two names
    ours, theirs = (ir.load(judge / "model.onnx").graph.initializers for _ in range(2))
    external = {name: value.const_value for name, value in ours.items() if type(value.const_value) is ir.ExternalTensor}
    assert len(external) > 4
    for name, tensor in external.items():
        np.testing.assert_array_equal(array_of(tensor), theirs[name].const_value.numpy())
        assert tensor.raw is None
