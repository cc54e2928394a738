"""Judges for CUDA: products in 16 bits, sums in 32. Here they are emulated."""

from pathlib import Path

import onnx_ir as ir
import pytest

from lager_onnx.export import export_judge
from lager_onnx.export.lower.narrow import narrow
from lager_onnx.models.errors import ExportError, VerificationError
from lager_onnx.models.precisions import Precision
from lager_onnx.models.spec import JudgeSpec
from support.tiny import VARIANTS, make_checkpoint

HALF_OR_FULL = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.FLOAT)
HALF = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("variant", ["llama", "qwen2", "qwen3", "phi3", "gemma2", "granite"])
def test_products_in_16_bits_agree_with_pytorch(variant: str, precision: Precision, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", *VARIANTS[variant])
    spec = export_judge(checkpoint, tmp_path / "judge", precision=precision, target="cuda")
    assert spec.arithmetic == precision
    assert spec.parity is not None
    assert 1e-5 < spec.parity.layer_logits < {"fp16": 2e-2, "bf16": 1e-1}[precision]  # it really rounds
    assert spec.agreement is not None


def test_a_wrong_gate_in_bf16_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(graph: ir.Model, spec: JudgeSpec) -> None:
        narrow(graph, spec)
        gate = next(node for node in graph.graph if node.op_type == "QuickGelu")
        gate.attributes["alpha"] = ir.AttrFloat32("alpha", 1.5)

    monkeypatch.setattr("lager_onnx.export.exporter.narrow", wrong)
    with pytest.raises(VerificationError):
        export_judge(tiny_checkpoint, tmp_path / "judge", precision="bf16", target="cuda")


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_gates_are_in_16_bits_where_they_cannot_overflow(
    precision: Precision, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    export_judge(tiny_checkpoint, tmp_path / "judge", precision=precision, target="cuda", verify_judge=False)
    graph = ir.load(tmp_path / "judge" / "model.onnx").graph
    gates = [node for node in graph if node.op_type in ("QuickGelu", "Mul") and node.outputs[0].dtype in HALF_OR_FULL]
    assert len(gates) == 8
    expected = ir.DataType.BFLOAT16 if precision == "bf16" else ir.DataType.FLOAT
    assert {value.dtype for node in gates for value in node.outputs} == {expected}


def test_a_layer_s_row_is_gathered_right_behind_it(tiny_checkpoint: Path, tmp_path: Path) -> None:
    export_judge(tiny_checkpoint, tmp_path / "judge", precision="bf16", target="cuda", verify_judge=False)
    nodes = list(ir.load(tmp_path / "judge" / "model.onnx").graph)
    for index, node in enumerate(nodes):
        if node.op_type == "GatherND":
            assert nodes[index - 1] is node.inputs[0].producer()
            assert node.inputs[1].producer() in nodes[:index]


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_products_are_in_16_bits_and_sums_in_32(precision: Precision, tiny_checkpoint: Path, tmp_path: Path) -> None:
    export_judge(tiny_checkpoint, tmp_path / "judge", precision=precision, target="cuda", verify_judge=False)
    graph = ir.load(tmp_path / "judge" / "model.onnx").graph
    narrow = HALF[precision == "bf16"]
    for node in graph:
        weights = [value.dtype for value in node.inputs if value is not None and value.name in graph.initializers]
        if (
            node.op_type == "MatMul"
            and node.inputs[1].name in graph.initializers
            and "lager." not in node.inputs[1].name
        ):
            assert weights == [narrow]
        elif node.op_type in ("SkipSimplifiedLayerNormalization", "SimplifiedLayerNormalization"):
            assert weights == [ir.DataType.FLOAT]
    assert {value.dtype for node in graph if node.op_type == "PagedAttention" for value in node.outputs} == {narrow}
    assert {value.dtype for value in graph.outputs} == {ir.DataType.FLOAT}


def test_8_bits_are_for_the_cpu(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="int8 is for the CPU"):
        export_judge(tiny_checkpoint, tmp_path / "judge", precision="int8", target="cuda")
