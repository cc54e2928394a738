"""Judges for CUDA: products in 16 bits, sums in 32. Here they are emulated."""

from pathlib import Path

import onnx_ir as ir
import pytest
from safetensors.torch import load_file, save_file

from lager_onnx.export import export_judge
from lager_onnx.export.decoder.roles import projections, role_of
from lager_onnx.export.lower.lower import lower
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
    def wrong(graph: ir.Model, spec: JudgeSpec, largest: dict[str, float]) -> None:
        lower(graph, spec, largest)
        gate = next(node for node in graph.graph if node.op_type == "QuickGelu")
        gate.attributes["alpha"] = ir.AttrFloat32("alpha", 1.5)

    monkeypatch.setattr("lager_onnx.export.exporter.lower", wrong)
    with pytest.raises(VerificationError):
        export_judge(tiny_checkpoint, tmp_path / "judge", precision="bf16", target="cuda")


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("variant", ["phi3", "gemma2", "llama-tied-biases", "qwen3-moe"])
def test_between_two_products_all_is_in_16_bits(variant: str, precision: Precision, tmp_path: Path) -> None:
    """Split gates, biases and Gemma's activation too."""
    checkpoint = make_checkpoint(tmp_path / "checkpoint", *VARIANTS[variant])
    export_judge(checkpoint, tmp_path / "judge", precision=precision, target="cuda", verify_judge=False)
    graph, narrow = ir.load(tmp_path / "judge" / "model.onnx").graph, HALF[precision == "bf16"]
    gates = [node for node in graph if node.op_type in ("QuickGelu", "FastGelu")]
    assert gates
    assert {gate.outputs[0].dtype for gate in gates} == {narrow}
    for down in projections(graph, "down"):
        product = down.inputs[0].producer()
        assert (product.op_type, product.outputs[0].dtype) == ("Mul", narrow)
        assert all(maker.op_type != "Cast" for value in product.inputs if (maker := value.producer()))
    casts = [node for node in graph if node.op_type == "Cast"]
    assert not [cast for cast in casts if cast.inputs[0].producer() in casts]


LARGE = 3e5  # gates become some ten times as large; fp16 holds 65,504


@pytest.fixture
def overflowing_checkpoint(tmp_path: Path) -> Path:
    """Layer 1 multiplies gate and up to large numbers, and makes them small again."""
    checkpoint = make_checkpoint(tmp_path / "checkpoint", *VARIANTS["llama"])
    weights = load_file(checkpoint / "model.safetensors")
    up, down = (f"model.layers.1.mlp.{part}_proj.weight" for part in ("up", "down"))
    gate = weights["model.layers.1.mlp.gate_proj.weight"]
    factor = LARGE / float((gate.norm(dim=1) * weights[up].norm(dim=1)).max())
    root = factor**0.5
    weights[up], weights["model.layers.1.mlp.gate_proj.weight"] = weights[up] * root, gate * root
    weights[down] = weights[down] / factor
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    return checkpoint


def test_a_gate_that_overflows_fp16_is_scaled(
    overflowing_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = export_judge(overflowing_checkpoint, tmp_path / "judge", precision="fp16", target="cuda")
    assert spec.parity is not None
    graph = ir.load(tmp_path / "judge" / "model.onnx").graph
    read = {role_of(down).layer: down.inputs[0].producer().op_type for down in projections(graph, "down")}
    assert read == {0: "Mul", 1: "Cast", 2: "Mul", 3: "Mul"}
    monkeypatch.setattr("lager_onnx.export.exporter.run_and_watch", lambda sweep, what: sweep.run_all(what) and {})
    with pytest.raises(VerificationError):
        export_judge(overflowing_checkpoint, tmp_path / "without", precision="fp16", target="cuda")


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
