"""Judges for CUDA: products in 16 bits, sums in 32. Here fp16 runs on the CPU, which widens it; bf16 it cannot run."""

from pathlib import Path

import onnx_ir as ir
import pytest

from lager_onnx.export import export_judge
from lager_onnx.models.errors import ExportError
from lager_onnx.models.precisions import Precision
from support.tiny import VARIANTS, make_checkpoint

HALF = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


@pytest.mark.parametrize("variant", ["llama", "qwen2", "qwen3", "phi3", "gemma2", "granite"])
def test_fp16_products_agree_with_pytorch(variant: str, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", *VARIANTS[variant])
    spec = export_judge(checkpoint, tmp_path / "judge", precision="fp16", target="cuda")  # verified within 2e-2
    assert spec.arithmetic == "fp16"
    assert spec.parity is not None


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
    assert {value.dtype for value in graph.outputs if (value.name or "").startswith("present")} == {narrow}
    assert {value.dtype for value in graph.outputs[:4]} == {ir.DataType.FLOAT}


def test_8_bits_are_for_the_cpu(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="int8 is for the CPU"):
        export_judge(tiny_checkpoint, tmp_path / "judge", precision="int8", target="cuda")
