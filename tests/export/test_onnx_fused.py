"""Judges from decoders whose attention and norms are fused already; tests/fixtures/fused/README.md describes them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.external_data_helper import convert_model_to_external_data

from lager_onnx import Judge
from lager_onnx.export import export_judge
from lager_onnx.export.sources import onnx_fused, onnx_model
from lager_onnx.models.errors import CheckpointError, ExportError, LagerError, VerificationError
from lager_onnx.models.precisions import Precision
from support.tiny import HEAD, VARIANTS, make_checkpoint

FUSED = Path(__file__).parents[1] / "fixtures" / "fused"
RECORDS = [{"instruction": "Name a prime.", "response": "Seven. " * number} for number in (1, 9)]


def layer_logits(judge: Path) -> np.ndarray:
    return np.stack([grade.layer_logits for grade in Judge.load(judge, device="cpu").score(RECORDS)])


def test_it_is_the_judge_of_the_checkpoint(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", *VARIANTS["qwen3"], head=HEAD)
    export_judge(checkpoint, tmp_path / "expected", template="brief", verify_judge=False)
    spec = export_judge(FUSED / "qwen3" / "model.onnx", tmp_path / "judge", template="brief")
    assert spec.parity is not None
    assert spec.parity.layer_logits < 1e-4
    expected = layer_logits(tmp_path / "expected")
    np.testing.assert_allclose(layer_logits(tmp_path / "judge"), expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_one_in_4_bits_becomes_a_judge(precision: Precision, tmp_path: Path) -> None:
    """Queries, keys and values come from one product; int8 needs to know what every product is."""
    spec = export_judge(FUSED / "llama-4-bits" / "model.onnx", tmp_path / "judge", precision=precision)
    assert spec.parity is not None
    assert spec.parity.layer_logits < 1e-4
    assert precision == "fp32" or (spec.agreement is not None and spec.agreement.score < 0.08)


def changed(folder: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    shutil.copytree(FUSED / "qwen3", folder)
    model = onnx.load(folder / "model.onnx")
    change(model)
    convert_model_to_external_data(model, location="weights", size_threshold=0)  # the smallest ones, too
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def attention(model: onnx.ModelProto) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == "GroupQueryAttention")


def set_number(model: onnx.ModelProto, name: str, value: float) -> None:
    node = attention(model)
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])


def another_input(model: onnx.ModelProto) -> None:
    node = attention(model)
    node.input.extend(["", "attention_bias"])
    model.graph.input.append(onnx.helper.make_tensor_value_info("attention_bias", 1, [1, 1, 1, 1]))


def bias_in_a_norm(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "SkipSimplifiedLayerNormalization")
    node.input.append(node.input[2])


def short_tables(model: onnx.ModelProto) -> None:
    table = next(tensor for tensor in model.graph.initializer if tensor.name == "cos_cache")
    table.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(table)[:100], table.name))


def test_it_may_have_all_weights_beside_it(tmp_path: Path) -> None:
    model = changed(tmp_path / "model", lambda _: None)
    export_judge(model, tmp_path / "judge", template="brief")
    shutil.rmtree(model.parent)
    assert np.isfinite(layer_logits(tmp_path / "judge")).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda model: set_number(model, "rotary_interleaved", 1), CheckpointError, "turns pairs of neighbours"),
        (another_input, CheckpointError, "reads attention_bias: such attention is not read"),
        (bias_in_a_norm, CheckpointError, "adds a bias"),
        (short_tables, CheckpointError, r"knows 100 positions, config\.json says 512"),
        (
            lambda model: set_number(model, "local_window_size", 7),
            ExportError,
            "attention of layer 0 has local_window_size 7, its configuration says -1",
        ),
    ],
)
def test_what_it_cannot_read_is_refused_by_name(
    change: Callable[[onnx.ModelProto], None], error: type[LagerError], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        export_judge(changed(tmp_path / "model", change), tmp_path / "judge")


def test_a_norm_that_is_read_wrongly_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is compared as it was given, in fused nodes."""

    def split_wrongly(graph) -> None:
        onnx_fused.split_norms(graph)
        for node in graph:
            if node.op_type == "SimplifiedLayerNormalization":
                node.attributes["epsilon"] = ir.AttrFloat32("epsilon", 0.01)

    monkeypatch.setattr(onnx_model, "split_norms", split_wrongly)
    with pytest.raises(VerificationError, match="disagrees with the model as it was given"):
        export_judge(FUSED / "qwen3" / "model.onnx", tmp_path / "judge", template="brief")
    assert not (tmp_path / "judge").exists()
