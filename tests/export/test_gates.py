"""Judges that are wrong are refused: faults planted at every stage of an export, in every precision."""

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import onnx_ir as ir
import pytest

from lager_onnx.export import export_judge, exporter
from lager_onnx.export.decoder.roles import projections
from lager_onnx.export.passes.building import constant, op
from lager_onnx.export.weights import numpy_of, set_numpy
from lager_onnx.models.errors import VerificationError
from lager_onnx.models.precisions import Precision
from lager_onnx.runtime.weights_file import WeightsFile
from support.tiny import VARIANTS, make_checkpoint

Fault = Callable[[ir.Graph], None]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
FEW_BITS: tuple[Precision, ...] = ("int8", "int4")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its scores spread over the scale, as a judge's do."""
    return make_checkpoint(tmp_path_factory.mktemp("gates") / "checkpoint", *VARIANTS["llama"], head=0.1)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_judge_without_fault_is_kept(precision: Precision, checkpoint: Path, tmp_path: Path) -> None:
    spec = export_judge(checkpoint, tmp_path / "judge", precision=precision, template="brief")
    assert spec.parity is not None
    assert spec.parity.layer_logits < 1e-4  # of the float32 form, or with PyTorch's weights rounded to 16 bits
    assert (spec.agreement is None) == (precision == "fp32")


def transposed(graph: ir.Graph) -> None:
    node = next(node for node in projections(graph) if len(set(numpy_of(node.inputs[1]).shape)) == 1)
    set_numpy(node.inputs[1], numpy_of(node.inputs[1]).T)


def zeroed(graph: ir.Graph) -> None:
    for node in projections(graph)[4:8]:
        set_numpy(node.inputs[1], 0 * numpy_of(node.inputs[1]))


def scaled(graph: ir.Graph) -> None:
    for node in projections(graph):
        set_numpy(node.inputs[1], np.float32(1.02) * numpy_of(node.inputs[1]))


def other_rotary_base(graph: ir.Graph) -> None:
    size = graph.initializers["lager.cos.global"].shape.numpy()
    angles = np.arange(size[0])[:, None] * 1e6 ** -(np.arange(size[1]) / size[1])
    for name, table in (("cos", np.cos(angles)), ("sin", np.sin(angles))):
        set_numpy(graph.initializers[f"lager.{name}.global"], table)


def other_position(graph: ir.Graph) -> None:
    unsqueeze = next(node for node in graph if node.outputs[0].name == "lager.score_position")
    last = unsqueeze.inputs[0].producer()
    last.replace_input_with(1, constant(graph, "lager.two", 2))


FAULTS = (transposed, zeroed, scaled, other_rotary_base, other_position)


def plant(monkeypatch: pytest.MonkeyPatch, step: str, fault: Fault) -> None:
    """Lets a step of the exporter find a graph with the fault."""
    original = getattr(exporter, step)

    def with_fault(graph: ir.Model, *arguments, **options):
        fault(graph.graph)
        return original(graph, *arguments, **options)

    monkeypatch.setattr(exporter, step, with_fault)


# Where a fault comes in (float32 graph, weights in 16 bits, weights prepared for few), and what then refuses the judge.
GATES = (
    ("write_graph", "fp32", "disagrees with PyTorch"),
    *[("Sweep", precision, "disagrees with PyTorch") for precision in PRECISIONS if precision != "fp32"],
    *[("lower", precision, "disagrees with PyTorch") for precision in ("fp16", "bf16")],
    *[("quantize", precision, "changed what the judge says") for precision in FEW_BITS],
)


@pytest.mark.parametrize(("step", "precision", "message"), GATES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_caught(
    fault: Fault,
    step: str,
    precision: Precision,
    message: str,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch, step, fault)
    refused(checkpoint, tmp_path, precision, message)


def rounded_weights(graph: ir.Graph, end: str) -> list[ir.Value]:
    return [value for name, value in graph.initializers.items() if name.endswith(end) and "embed" not in name]


def rounded_to_zero(graph: ir.Graph) -> None:
    for weight in rounded_weights(graph, ".int8")[4:8]:
        weight.const_value = ir.tensor(np.zeros_like(weight.const_value.numpy()), name=weight.name)
    for weight in rounded_weights(graph, ".int4")[4:8]:
        weight.const_value = ir.tensor(np.full_like(weight.const_value.numpy(), 0x88), name=weight.name)


def rounded_and_transposed(graph: ir.Graph) -> None:
    for weight in rounded_weights(graph, ".int8"):
        array = weight.const_value.numpy()
        if array.shape[0] == array.shape[1]:
            weight.const_value = ir.tensor(np.ascontiguousarray(array.T), name=weight.name)
    for weight in rounded_weights(graph, ".int4"):
        array = weight.const_value.numpy()  # (out, blocks, bytes): outputs in another order are no less wrong
        weight.const_value = ir.tensor(np.ascontiguousarray(array[::-1]), name=weight.name)


def scales_off_by_2_percent(graph: ir.Graph) -> None:
    for scales in rounded_weights(graph, ".scales"):
        set_numpy(scales, np.float32(1.02) * numpy_of(scales))


@pytest.mark.parametrize("precision", FEW_BITS)
@pytest.mark.parametrize(
    "fault",
    [rounded_to_zero, rounded_and_transposed, scales_off_by_2_percent, other_rotary_base, other_position],
)
def test_a_fault_of_the_rounded_graph_is_caught(
    fault: Fault, precision: Precision, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = exporter.WeightsFile.store_all

    def store_with_fault(file: WeightsFile, model: ir.Model) -> None:
        fault(model.graph)
        original(file, model)

    monkeypatch.setattr(exporter.WeightsFile, "store_all", store_with_fault)
    refused(checkpoint, tmp_path, precision, r"is not that of its weights|disagrees with its float32 form")


def refused(checkpoint: Path, folder: Path, precision: Precision, message: str) -> None:
    with pytest.raises(VerificationError, match=message):
        export_judge(checkpoint, folder / "judge", precision=precision, template="brief")
    assert not any(folder.iterdir())


def without_rotary(graph: ir.Graph) -> None:
    for node in (node for node in graph if node.op_type == "PagedAttention"):
        node.attributes["do_rotary"] = ir.AttrInt64("do_rotary", 0)


def rows_of_others(graph: ir.Graph) -> None:
    """Attention takes every token's queries, keys and values from the first one's."""
    row_tokens = next(value for value in graph.inputs if value.name == "row_tokens")
    zero = op(graph, "Mul", row_tokens, constant(graph, "lager.zero", 0))
    for use in list(row_tokens.uses()):
        if use.node.op_type == "Gather":
            use.node.replace_input_with(use.idx, zero)
    graph.sort()


def token_before(graph: ir.Graph) -> None:
    tokens = next(value for value in graph.inputs if value.name == "score_tokens")
    before = op(
        graph, "Max", op(graph, "Sub", tokens, constant(graph, "lager.one", 1)), constant(graph, "lager.zero", 0)
    )
    for use in list(tokens.uses()):
        if use.node.op_type == "Unsqueeze":
            use.node.replace_input_with(use.idx, before)
    graph.sort()


@pytest.mark.parametrize("precision", ["bf16", "fp16", "int4"])
@pytest.mark.parametrize("fault", [without_rotary, rows_of_others, token_before])
def test_a_fault_of_a_judge_for_cuda_is_caught(
    fault: Fault, precision: Precision, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = exporter.lower

    def with_fault(graph: ir.Model, *arguments, **options):
        original(graph, *arguments, **options)
        fault(graph.graph)

    monkeypatch.setattr(exporter, "lower", with_fault)
    with pytest.raises(VerificationError, match=r"disagrees with|is not that of its weights"):
        export_judge(checkpoint, tmp_path / "judge", precision=precision, target="cuda", template="brief")
    assert not any(tmp_path.iterdir())
