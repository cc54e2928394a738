"""Rotation, rounding and 8-bit products."""

import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from lager_onnx import Judge
from lager_onnx.export import export_judge, exporter
from lager_onnx.export.calibrate.inputs import Inputs
from lager_onnx.export.decoder.roles import Role, projections, set_role
from lager_onnx.export.lower.skip_norm import FuseSkipNormPass
from lager_onnx.export.passes.parts import reads_gate
from lager_onnx.export.quantize.embedding import EmbeddingBlocksPass
from lager_onnx.export.quantize.gptq import quantize_weight, upper_factor
from lager_onnx.export.quantize.int4 import Int4Rounding
from lager_onnx.export.quantize.int8 import Int8Rounding, use_blocks
from lager_onnx.export.quantize.rotate import RotatePass, plan_rotation
from lager_onnx.export.quantize.smooth import smooth
from lager_onnx.export.quantize.spread import spread
from lager_onnx.export.verify.agreement import compare
from lager_onnx.export.weights import numpy_of
from lager_onnx.models.graph import OUTPUTS
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.runtime.session import open_session, run_graph
from support.tiny import VARIANTS, make_checkpoint

PROMPTS = [[3, 1, 4, 1, 5, 9, 2, 6], [2, 7], [5] * 40]
# These norm what they add to the stream, or add up experts before.
NOT_ROTATED = ("gemma", "olmo", "mixtral", "qwen3-moe")


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_rotated_stream_changes_nothing(variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "lower", lambda *_: None)  # which comes after it
    checkpoint = make_checkpoint(tmp_path / "checkpoint", *VARIANTS[variant])
    export_judge(checkpoint, tmp_path / "judge", verify_judge=False)
    graph = ir.load(tmp_path / "judge" / "model.onnx")
    embedding = next(value for name, value in graph.graph.initializers.items() if "embed" in name)
    before = embedding.const_value.numpy().copy()
    plan = plan_rotation(graph.graph)
    assert (plan is not None) == (not variant.startswith(NOT_ROTATED))
    np.testing.assert_array_equal(embedding.const_value.numpy(), before)  # it was planned, and nothing more
    if plan is None:
        return
    RotatePass(plan)(graph)
    assert not np.allclose(embedding.const_value.numpy(), before)
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
    np.testing.assert_allclose(scales, np.abs(weight).max(axis=0)[None] / 127, rtol=1e-6)
    nearest = np.round(weight / scales) * scales
    error, plain = (np.abs(inputs @ (weight - rounded)).mean() for rounded in (quantized * scales, nearest))
    assert error < plain / 2


def test_the_factor_over_many_blocks_is_cholesky_s() -> None:
    rows = np.random.default_rng(0).standard_normal((1000, 300)).astype(np.float32)
    moments = rows.T @ rows
    damped = (moments + 0.01 * np.diag(moments).mean() * np.eye(300)).astype(np.float64)
    expected = np.linalg.cholesky(damped[::-1, ::-1])[::-1, ::-1]
    upper = upper_factor(moments)
    np.testing.assert_allclose(upper, expected, rtol=1e-4, atol=1e-4)
    assert np.shares_memory(upper, moments)


def test_inputs_that_are_not_correlated_round_to_the_nearest() -> None:
    weight = np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32)
    quantized, scales = quantize_weight(weight, np.eye(16, dtype=np.float32))
    np.testing.assert_array_equal(quantized, np.round(weight / scales))


@pytest.mark.parametrize("variant", ["llama", "phi3", "gemma2"])
def test_spreading_over_blocks_changes_nothing(variant: str, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", *VARIANTS[variant])
    export_judge(checkpoint, tmp_path / "judge", verify_judge=False)
    graph = ir.load(tmp_path / "judge" / "model.onnx")
    readers = [node for node in projections(graph.graph) if reads_gate(node)]
    before = [numpy_of(node.inputs[1]).copy() for node in readers]
    expected = run_graph(open_session(tmp_path / "judge" / "model.onnx", device="cpu").session, PROMPTS)
    for node, weight in zip(readers, before, strict=True):
        assert len(spread(graph.graph, node, Inputs.of(len(weight)))) == 3
    after = [numpy_of(node.inputs[1]) for node in readers]
    assert before
    assert not any(np.array_equal(new, old) for new, old in zip(after, before, strict=True))
    ir.save(graph, tmp_path / "spread.onnx", external_data="spread.onnx_data")
    got = run_graph(open_session(tmp_path / "spread.onnx", device="cpu").session, PROMPTS)
    for name in OUTPUTS:
        np.testing.assert_allclose(got[name], expected[name], atol=1e-4 * np.abs(expected[name]).max())


def test_moments_follow_when_channels_are_divided_and_turned() -> None:
    random = np.random.default_rng(0)
    rows, scale = random.standard_normal((50, 32)).astype(np.float32), np.linspace(0.5, 4, 32, dtype=np.float32)
    some = random.standard_normal((16, 16)).astype(np.float32)
    turn = ((some + some.T) / 2).astype(np.float32)  # symmetric is all that is asked of it
    inputs, changed = Inputs.of(32), Inputs.of(32)
    for part in np.split(rows, 5):
        inputs.add(part)
    inputs.finish()
    np.testing.assert_allclose(inputs.moments, rows.T @ rows, rtol=1e-4, atol=1e-4)
    inputs.divide(scale)
    for part in np.split(rows / scale, 5):
        changed.add(part)
    changed.finish()
    np.testing.assert_allclose(inputs.moments, changed.moments, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(inputs.sizes, changed.sizes, rtol=1e-4)
    np.testing.assert_allclose(inputs.mean, changed.mean, rtol=1e-3, atol=1e-6)
    inputs.turn(turn)
    turned = (rows / scale) @ np.kron(np.eye(2, dtype=np.float32), turn)
    np.testing.assert_allclose(inputs.moments, turned.T @ turned, rtol=1e-3, atol=1e-3)


def test_a_sum_in_one_node_with_its_norm_is_the_same(tiny_judges: dict[str, Path], tmp_path: Path) -> None:
    judge = Path(shutil.copytree(tiny_judges["int8"], tmp_path / "judge"))  # onnx_ir reads no file with two names
    graph = ir.load(judge / "model.onnx")  # which has them apart
    apart = [node.op_type for node in graph.graph].count("SimplifiedLayerNormalization")
    session = open_session(judge / "model.onnx", device="cpu", precision="int8").session
    assert FuseSkipNormPass()(graph).modified
    left = [node.op_type for node in graph.graph]
    assert (
        left.count("SkipSimplifiedLayerNormalization") == apart - 2
    )  # the first reads the embedding, the last one all layers
    ir.save(graph, tmp_path / "fused.onnx", external_data="fused.onnx_data")
    got = run_graph(open_session(tmp_path / "fused.onnx", device="cpu", precision="int8").session, PROMPTS)
    expected = run_graph(session, PROMPTS)
    for name in OUTPUTS:
        np.testing.assert_allclose(got[name], expected[name], atol=1e-3 * np.abs(expected[name]).max())


def seen(sizes: np.ndarray) -> Inputs:
    """Two tokens of text behind a first one that is of another size."""
    inputs = Inputs(np.zeros((len(sizes), len(sizes)), np.float32))
    inputs.add(np.stack([1e4 / sizes, sizes, -sizes]).astype(np.float32))
    np.testing.assert_allclose(inputs.sizes, sizes, rtol=1e-6)
    return inputs


@pytest.mark.parametrize(("variant", "smoothed"), [("llama", True), ("gemma2", True), ("phi3", False)])
def test_smoothing_channels_changes_nothing_but_their_size(variant: str, smoothed: bool, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", *VARIANTS[variant])
    export_judge(checkpoint, tmp_path / "judge", verify_judge=False)
    graph = ir.load(tmp_path / "judge" / "model.onnx")
    readers = [node for node in projections(graph.graph) if reads_gate(node)]
    before = [numpy_of(node.inputs[1]).copy() for node in readers]
    expected = run_graph(open_session(tmp_path / "judge" / "model.onnx", device="cpu").session, PROMPTS)
    done = [
        smooth(node, projections(graph.graph), seen(10.0 ** np.linspace(-2, 2, len(weight))))
        for node, weight in zip(readers, before, strict=True)
    ]
    assert done == [smoothed] * len(readers)
    after = [numpy_of(node.inputs[1]) for node in readers]
    assert smoothed != all(np.array_equal(new, old) for new, old in zip(after, before, strict=True))
    ir.save(graph, tmp_path / "smooth.onnx", external_data="smooth.onnx_data")
    got = run_graph(open_session(tmp_path / "smooth.onnx", device="cpu").session, PROMPTS)
    for name in OUTPUTS:
        np.testing.assert_allclose(got[name], expected[name], atol=1e-4 * np.abs(expected[name]).max())


def one_product(weight: np.ndarray, behind: str, *, norm_weight: bool = False) -> ir.Model:
    """x ─ behind ─ MatMul(weight) ─ y"""
    size = len(weight)
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["batch", "sequence", size]))
    matrix = ir.Value(name="w", const_value=ir.tensor(weight, name="w"), type=ir.TensorType(ir.DataType.FLOAT))
    ones = ir.tensor(np.ones(size, np.float32), name="g")
    gain = ir.Value(name="g", const_value=ones, type=ir.TensorType(ir.DataType.FLOAT))
    first = ir.node(behind, [x, gain] if norm_weight else [x])
    first.outputs[0].name = "read"
    product = ir.node("MatMul", [first.outputs[0], matrix])
    set_role(product, Role(0, "qkv" if norm_weight else "down"))
    last = ir.node("Identity", [product.outputs[0]])
    last.outputs[0].name, last.outputs[0].type = "y", ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph(
        [x], last.outputs, nodes=[first, product, last], initializers=[matrix, gain],
        opset_imports={"": 18, "com.microsoft": 1}, name="one product",
    )  # fmt: skip
    return ir.Model(graph, ir_version=9)


def to_int8(model: ir.Model, inputs: Inputs, *, rotated: bool) -> None:
    (node,) = projections(model.graph)
    Int8Rounding(model.graph, rotated=rotated).round(node, inputs)
    use_blocks(model)
    model.graph.sort()


def run(model: ir.Model, rows: np.ndarray, folder: Path) -> np.ndarray:
    """In a judge's session: on processors without VNNI its options decide whether products in 8 bits are exact."""
    ir.save(model, folder / "model.onnx")
    return open_session(folder / "model.onnx", device="cpu", precision="int8").session.run(["y"], {"x": rows})[0]


def test_products_lose_no_more_than_rounding_in_any_row(tmp_path: Path) -> None:
    """Rows of very different size, one of zeros, one with a channel that is a thousand times the others."""
    random = np.random.default_rng(0)
    weight = random.standard_normal((64, 16)).astype(np.float32)
    model = one_product(weight, "Neg")
    to_int8(model, Inputs(np.eye(64, dtype=np.float32)), rotated=False)
    rows = random.standard_normal((1, 5, 64)) * np.array([1e-3, 1, 1e3, 0, 1])[None, :, None]
    rows[0, 4, 7] = 1000
    rows = rows.astype(np.float32)
    got = run(model, rows, tmp_path)
    weight_scales, largest = np.abs(weight).max(axis=0) / 127, np.abs(rows).max(axis=-1, keepdims=True)
    of_weights = np.abs(rows).sum(axis=-1, keepdims=True) * weight_scales / 2
    of_rows = largest / 127 / 2 * (np.abs(weight) + weight_scales / 2).sum(axis=0)
    assert (np.abs(got + rows.astype(np.float64) @ weight) <= 1.001 * (of_weights + of_rows) + 1e-9).all()


def test_only_what_differs_from_the_mean_is_rounded(tmp_path: Path) -> None:
    """Normed rows that differ little from one mean lose little, whatever the mean is."""
    random = np.random.default_rng(0)
    weight = np.round(random.standard_normal((64, 16)) * 40).clip(-127, 127).astype(np.float32)
    weight[0] = 127  # weights are integers and one is 127: they lose nothing
    rows = (random.standard_normal(64) + 0.02 * random.standard_normal((1, 400, 64))).astype(np.float32)
    rows /= np.sqrt((rows**2).mean(axis=-1, keepdims=True))
    seen = Inputs(np.eye(64, dtype=np.float32))
    seen.add(rows[0])
    assert seen.deviation == pytest.approx((rows[0, 1:] - rows[0, 1:].mean(axis=0)).std(), rel=1e-3)
    np.testing.assert_allclose(seen.mean, rows[0, 1:].mean(axis=0), atol=1e-6)
    model = one_product(weight, "SimplifiedLayerNormalization", norm_weight=True)
    to_int8(model, seen, rotated=True)
    got = run(model, rows, tmp_path)
    inside = np.abs(rows - seen.mean).max(axis=-1) < 3.9 * seen.deviation
    assert inside.mean() > 0.9
    of_rows = 4 * seen.deviation / 127 / 2 * np.abs(weight).sum(axis=0)
    assert (np.abs(got - rows.astype(np.float64) @ weight)[inside] <= 1.01 * of_rows + 1e-3).all()


def test_blocks_of_4_bits_hold_what_they_were_rounded_to(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    weight = random.standard_normal((48, 16)).astype(np.float32)  # a block and a half
    model = one_product(weight, "Neg")
    (node,) = projections(model.graph)
    _, stored = Int4Rounding(model.graph).round(node, Inputs(np.eye(48, dtype=np.float32)))
    model.graph.sort()
    got = run(model, -np.eye(48, dtype=np.float32)[None], tmp_path)[0]
    largest = np.stack([np.abs(part).max(axis=0) / 7 for part in (weight[:32], weight[32:])])
    scales = numpy_of(stored).T
    assert ((scales >= 0.69 * largest) & (scales <= 1.01 * largest)).all()
    largest, scales = (each.repeat([32, 16], axis=0) for each in (largest, scales))
    rounded, plain = (np.clip(np.round(weight / each), -7, 7) * each for each in (scales, largest))
    np.testing.assert_allclose(got, rounded, atol=0.02)  # 8 bits of the activation 1
    lost, lost_plainly = (((weight - each) ** 2).sum() for each in (rounded, plain))
    assert lost < 0.9 * lost_plainly


def test_embeddings_in_blocks_are_within_half_a_step(tiny_judge: Path, tmp_path: Path) -> None:
    judge = Path(shutil.copytree(tiny_judge, tmp_path / "judge"))  # onnx_ir reads no file with two names
    graph = ir.load(judge / "model.onnx")
    node = next(node for node in graph.graph if node.op_type == "Gather" and node.inputs[0].const_value is not None)
    embedding, found = numpy_of(node.inputs[0]).copy(), node.outputs[0].name
    assert EmbeddingBlocksPass()(graph).modified
    output = next(value for each in graph.graph for value in each.outputs if value.name == found)
    output.type = ir.TensorType(ir.DataType.FLOAT)
    graph.graph.outputs.append(output)
    ir.save(graph, tmp_path / "model.onnx", external_data="model.onnx_data")
    ids = np.arange(len(embedding))[None]
    session = open_session(tmp_path / "model.onnx", device="cpu").session
    (got,) = session.run([found], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    step = (np.abs(embedding.reshape(len(embedding), -1, 32)).max(axis=-1) / 127).repeat(32, axis=-1)
    assert (np.abs(got[0] - embedding) <= 0.501 * step).all()


@pytest.mark.parametrize("variant", ["llama", "qwen3", "phi3", "gemma2", "granite"])
def test_8_bit_judges_agree_with_float32(variant: str, tmp_path: Path) -> None:
    """Random weights magnify what 8 bits lose, so these judges are held against float32 on text, not on random ids."""
    checkpoint = make_checkpoint(tmp_path / "checkpoint", *VARIANTS[variant])
    spec = export_judge(checkpoint, tmp_path / "judge", precision="int8", template="brief", verify_judge=False)
    assert spec == JudgeSpec.load(tmp_path / "judge")
    assert spec.agreement is not None
    assert spec.agreement.score < 0.05
    nodes = [node.op_type for node in ir.load(tmp_path / "judge" / "model.onnx").graph]
    assert nodes.count("MatMulIntegerToFloat") >= 4 * spec.num_layers
    judge = Judge.load(tmp_path / "judge", device="cpu")
    records = [{"instruction": "Name a prime.", "response": "good " * number} for number in (1, 2, 30)]
    alone = [judge.score([record])[0].score for record in records]
    np.testing.assert_allclose([grade.score for grade in judge.score(records)], alone, atol=1e-3)


def test_4_bit_judges_are_smaller_and_agree_roughly(tiny_checkpoint: Path, tiny_judge: Path, tmp_path: Path) -> None:
    spec = export_judge(tiny_checkpoint, tmp_path / "judge", precision="int4", template="brief", verify_judge=False)
    assert spec.agreement is not None
    # Random weights have nothing to spare: how near this comes depends on the words of the built-in criteria.
    assert spec.agreement.score < 0.2
    assert spec.agreement.spearman > 0.6
    nodes = [node.op_type for node in ir.load(tmp_path / "judge" / "model.onnx").graph]
    assert nodes.count("MatMulNBits") >= 4 * spec.num_layers
    assert nodes.count("GatherBlockQuantized") == 1
    large = sum(file.stat().st_size for file in (tiny_judge.glob("model.onnx*")))
    assert sum(file.stat().st_size for file in (tmp_path / "judge").glob("model.onnx*")) < 0.7 * large


def test_agreement_is_of_differences_and_ranks() -> None:
    expected = np.array([1.0, 2.0, 3.0, 4.0])
    spread = np.sqrt(1.25) / 4
    expected_figures = {"spread": spread, "score": 0.1, "spearman": 1.0, "prompts": 4}
    assert asdict(compare(expected + 0.4, expected, 4)) == pytest.approx(expected_figures)
    assert compare(expected[::-1], expected, 4).spearman == pytest.approx(-1)
