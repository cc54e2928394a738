"""Rotation, rounding and 8-bit products."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from lager_onnx import Judge
from lager_onnx.export import export_judge
from lager_onnx.export.calibration import agreement
from lager_onnx.export.gptq import quantize_weight
from lager_onnx.export.passes.quantize import QuantizePass
from lager_onnx.export.passes.rotate import RotatePass
from lager_onnx.models.graph import OUTPUTS
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.runtime.session import open_session, run_graph
from support.tiny import VARIANTS, make_checkpoint

PROMPTS = [[3, 1, 4, 1, 5, 9, 2, 6], [2, 7], [5] * 40]
NORMED_BRANCHES = ("gemma", "olmo")  # these norm what they add to the stream


@pytest.mark.parametrize("lens", ["raw", "norm"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_rotated_stream_changes_nothing(variant: str, lens: str, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", *VARIANTS[variant])
    export_judge(checkpoint, tmp_path / "judge", lens=lens, verify_judge=False)
    graph = ir.load(tmp_path / "judge" / "model.onnx")
    embedding = next(value for name, value in graph.graph.initializers.items() if "embed" in name)
    before = embedding.const_value.numpy().copy()
    modified = RotatePass()(graph).modified
    assert modified == (not variant.startswith(NORMED_BRANCHES))
    assert modified == (not np.allclose(embedding.const_value.numpy(), before))
    ir.save(graph, tmp_path / "rotated.onnx", external_data="rotated.onnx_data")
    expected = run_graph(open_session(tmp_path / "judge" / "model.onnx", device="cpu").session, PROMPTS)
    got = run_graph(open_session(tmp_path / "rotated.onnx", device="cpu").session, PROMPTS)
    for name in OUTPUTS:
        np.testing.assert_allclose(got[name], expected[name], atol=1e-4 * np.abs(expected[name]).max())


def test_rounding_minds_what_is_multiplied() -> None:
    random = np.random.default_rng(0)
    inputs = (random.standard_normal((500, 8)) @ random.standard_normal((8, 64))).astype(np.float32)  # correlated
    weight = random.standard_normal((64, 32)).astype(np.float32)
    quantized, scales = quantize_weight(weight, inputs.T @ inputs)
    np.testing.assert_allclose(scales, np.abs(weight).max(axis=0) / 127, rtol=1e-6)
    nearest = np.round(weight / scales) * scales
    error, plain = (np.abs(inputs @ (weight - rounded)).mean() for rounded in (quantized * scales, nearest))
    assert error < plain / 2


def test_inputs_that_are_not_correlated_round_to_the_nearest() -> None:
    weight = np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32)
    quantized, scales = quantize_weight(weight, np.eye(16, dtype=np.float32))
    np.testing.assert_array_equal(quantized, np.round(weight / scales))


@pytest.mark.parametrize(("behind", "steps"), [("Neg", 127), ("Mul", 32767)])
def test_products_lose_no_more_than_rounding_in_any_row(behind: str, steps: int, tmp_path: Path) -> None:
    """Rows of very different size, one of zeros, one with a channel that is a thousand times the others."""
    random = np.random.default_rng(0)
    weight = random.standard_normal((64, 16)).astype(np.float32)
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["batch", "sequence", 64]))
    matrix = ir.Value(name="w", const_value=ir.tensor(weight, name="w"), type=ir.TensorType(ir.DataType.FLOAT))
    first = ir.node(behind, [x, x] if behind == "Mul" else [x])
    product = ir.node("MatMul", [first.outputs[0], matrix])
    last = ir.node("Identity", [product.outputs[0]])
    last.outputs[0].name, last.outputs[0].type = "y", ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph(
        [x], last.outputs, nodes=[first, product, last], initializers=[matrix],
        opset_imports={"": 18, "com.microsoft": 1}, name="one product",
    )  # fmt: skip
    model = ir.Model(graph, ir_version=9)
    QuantizePass(lambda _: np.eye(64, dtype=np.float32), rotated=False)(model)
    ir.save(model, tmp_path / "model.onnx")
    rows = random.standard_normal((1, 5, 64)).astype(np.float32) * np.array([1e-3, 1, 1e3, 0, 1])[None, :, None]
    rows[0, 4, 7] = 1000
    rows = rows.astype(np.float32)
    (got,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(["y"], {"x": rows})
    read = (rows * rows if behind == "Mul" else -rows).astype(np.float64)
    weight_scales, largest = np.abs(weight).max(axis=0) / 127, np.abs(read).max(axis=-1, keepdims=True)
    of_weights = np.abs(read).sum(axis=-1, keepdims=True) * weight_scales / 2
    of_rows = largest / steps / 2 * (np.abs(weight) + weight_scales / 2).sum(axis=0)
    assert (np.abs(got - read @ weight) <= 1.001 * (of_weights + of_rows) + 1e-9).all()


@pytest.mark.parametrize("variant", ["llama", "qwen3", "phi3", "gemma2", "granite"])
def test_8_bit_judges_agree_with_float32(variant: str, tmp_path: Path) -> None:
    """Random weights magnify what 8 bits lose, so these judges are held against float32 on text, not on random ids."""
    checkpoint = make_checkpoint(tmp_path / "checkpoint", *VARIANTS[variant])
    spec = export_judge(checkpoint, tmp_path / "judge", precision="int8", template="brief", verify_judge=False)
    assert spec == JudgeSpec.load(tmp_path / "judge")
    assert spec.agreement is not None
    assert spec.agreement["score"] < 0.05
    nodes = [node.op_type for node in ir.load(tmp_path / "judge" / "model.onnx").graph]
    assert nodes.count("MatMulIntegerToFloat") >= 4 * spec.num_layers
    judge = Judge.load(tmp_path / "judge", device="cpu")
    records = [{"instruction": "Name a prime.", "response": "good " * number} for number in (1, 2, 30)]
    alone = [judge.score([record])[0].score for record in records]
    np.testing.assert_allclose([grade.score for grade in judge.score(records)], alone, atol=1e-3)


def test_agreement_is_of_differences_and_ranks() -> None:
    expected = np.array([1.0, 2.0, 3.0, 4.0], np.float32)
    assert agreement(expected + 0.4, expected, 4) == pytest.approx({"score": 0.1, "spearman": 1.0, "prompts": 4})
    assert agreement(expected[::-1], expected, 4)["spearman"] == pytest.approx(-1)
