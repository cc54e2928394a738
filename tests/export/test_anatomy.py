"""Locating and rewriting on graphs made by hand."""

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from lager_onnx.export.decoder.locate import locate
from lager_onnx.export.passes.building import constant, op
from lager_onnx.export.passes.positions import PositionsPass
from lager_onnx.export.passes.score_head import ScoreHeadPass
from lager_onnx.models.errors import ExportError
from lager_onnx.models.graph import OUTPUTS

HIDDEN, SCORES, VOCABULARY = 6, 3, 11


def decoder(num_layers: int = 2, *, head: tuple[str, ...] = (), scaled: bool = False, name: str = "layers") -> ir.Model:
    """A decoder in miniature: branches are a MatMul of the stream, the norm is a division by its largest entry."""
    random = np.random.default_rng(1)
    ids, mask = (
        ir.Value(name=value, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape(["b", "s"]))
        for value in ("input_ids", "attention_mask")
    )
    graph = ir.Graph([ids, mask], [], nodes=[], opset_imports={"": 18})

    def weight(label: str, *shape: int) -> ir.Value:
        return constant(graph, label, random.normal(size=shape).astype(np.float32))

    hidden = op(graph, "Gather", weight("embedding", VOCABULARY, HIDDEN), ids, axis=0)
    if scaled:
        hidden = op(graph, "Mul", hidden, constant(graph, "normaliser", 2.0))
    for layer in range(num_layers):
        for branch in ("attention", "mlp"):
            projected = op(graph, "MatMul", hidden, weight(f"{branch}.{layer}", HIDDEN, HIDDEN))
            biased = op(graph, "Add", projected, weight(f"{branch}.{layer}.bias", HIDDEN))
            hidden = op(graph, "Add", hidden, biased, name=f"/model/{name}.{layer}/{branch}_output")
    largest = op(graph, "ReduceMax", op(graph, "Abs", hidden), constant(graph, "last_axis", [-1]), keepdims=1)
    normed = op(graph, "Div", hidden, op(graph, "Add", largest, constant(graph, "eps", 1e-6)))
    logits = op(graph, "MatMul", normed, weight("unembedding", HIDDEN, SCORES))
    for step in head:
        operands = {"Tanh": (), "Add": (weight("head.bias", SCORES),)}.get(step, (constant(graph, f"by.{step}", 3.0),))
        logits = op(graph, step, logits, *operands)
    logits.name = "logits"
    graph.outputs.append(logits)
    return ir.Model(graph, ir_version=10)


def test_every_part_is_found() -> None:
    anatomy = locate(decoder(3, head=("Div", "Tanh", "Mul", "Add"), scaled=True), 3)
    assert [value.name for value in anatomy.residual_stream[1:]] == [f"/model/layers.{i}/mlp_output" for i in range(3)]
    assert anatomy.residual_stream[0].producer().op_type == "Mul"
    assert anatomy.unembedding.inputs[1].name == "unembedding"
    assert (anatomy.embedding_ops, anatomy.head_ops) == (("Mul",), ("Div", "Tanh", "Mul", "Add"))


def test_a_stream_that_does_not_fit_the_layers_is_refused() -> None:
    with pytest.raises(ExportError, match="4 additions, which 3 layers"):
        locate(decoder(2), 3)


def test_names_that_contradict_the_structure_are_refused() -> None:
    model = decoder(2)
    first = next(node for node in model.graph if node.op_type == "MatMul")
    first.name = "/model/layers.1/oddly_named"
    with pytest.raises(ExportError, match=r"attention of layer 0 ends in /model/layers\.1/oddly_named"):
        locate(model, 2)


def test_a_head_that_is_no_matmul_is_refused() -> None:
    model = decoder(1)
    model.graph.outputs[0].name = None
    spoiled = op(model.graph, "Softmax", model.graph.outputs[0], axis=-1, name="logits")
    model.graph.outputs[0] = spoiled
    with pytest.raises(ExportError, match="found Softmax"):
        locate(model, 1)


def test_a_graph_without_logits_is_refused() -> None:
    model = decoder(1)
    model.graph.outputs[0].name = "other"
    with pytest.raises(ExportError, match=r"no output 'logits', only \['other'\]"):
        locate(model, 1)


def test_a_stream_without_an_embedding_is_refused() -> None:
    model = decoder(1)
    model.graph.inputs[0].name = "tokens"
    with pytest.raises(ExportError, match="0 paths of additions"):
        locate(model, 1)


def test_the_head_reads_every_layer_at_the_score_position(tmp_path) -> None:
    head = ("Div", "Tanh", "Mul", "Add")
    weights, values = (0.2, 0.3, 0.1, 0.0, 0.1, 0.3), (1.0, 2.0, 4.0)
    model = decoder(2, head=head)
    tensors = {name: value.const_value.numpy() for name, value in model.graph.initializers.items()}
    ScoreHeadPass(locate(model, 2), layer_weights=weights, values=values)(model)
    ir.save(model, tmp_path / "judge.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "judge.onnx", providers=["CPUExecutionProvider"])
    ids = np.array([[4, 9, 2, 7], [3, 5, 0, 0]])
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0]])
    got = dict(
        zip(
            OUTPUTS,
            session.run(list(OUTPUTS), {"input_ids": ids, "attention_mask": mask}),
            strict=True,
        )
    )

    hidden = tensors["embedding"][[7, 5]]  # the last real token of each row
    rows = [hidden]
    for layer in range(2):
        for branch in ("attention", "mlp"):
            hidden = hidden + hidden @ tensors[f"{branch}.{layer}"] + tensors[f"{branch}.{layer}.bias"]
        rows.append(hidden)
    normed = [row / (np.abs(row).max(-1, keepdims=True) + 1e-6) for row in rows]
    rows += normed
    z = np.stack([np.tanh(row @ tensors["unembedding"] / 3) * 3 + tensors["head.bias"] for row in rows], axis=1)
    aggregated = np.einsum("l,blk->bk", weights, z)
    probabilities = np.exp(aggregated) / np.exp(aggregated).sum(-1, keepdims=True)
    np.testing.assert_allclose(got["layer_logits"], z, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(got["logits"], aggregated, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(got["probabilities"], probabilities, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got["score"], probabilities @ values, rtol=1e-5)


def test_positions_are_columns() -> None:
    ids, positions = (
        ir.Value(name=name, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape(["b", "s"]))
        for name in ("input_ids", "position_ids")
    )
    graph = ir.Graph([ids, positions], [], nodes=[], opset_imports={"": 18})
    out = op(graph, "Identity", positions, name="out")
    out.type, out.shape = ir.TensorType(ir.DataType.INT64), ir.Shape(["b", "s"])
    graph.outputs.append(out)
    model = ir.Model(graph, ir_version=10)
    assert PositionsPass()(model).modified
    assert not PositionsPass()(model).modified
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"input_ids": np.zeros((2, 4), np.int64)})[0], [[0, 1, 2, 3]] * 2)
