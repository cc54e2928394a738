"""Every product of every family has its role, also in the file."""

from pathlib import Path

import onnx_ir as ir
import pytest

from lager_onnx.export import export_judge
from lager_onnx.export.decoder.roles import Part, Role, projections, role_of, set_role
from support.tiny import PHI, VARIANTS, make_checkpoint

USUAL: tuple[Part, ...] = ("qkv", "output", "gate", "up", "down")
EXPERTS: tuple[Part, ...] = ("qkv", "output", "router", *("gate", "up", "down") * 4)
HEAD_NORMS: tuple[Part, ...] = ("query", "key", "value", "output", "gate", "up", "down")
EXPECTED: dict[str, tuple[Part, ...]] = {
    "phi3": ("qkv", "output", "gate_up", "down"),
    "phi3-longrope": ("qkv", "output", "gate_up", "down"),
    "mixtral": EXPERTS,
    "olmoe": ("query", "key", "value", *EXPERTS[1:]),
    **dict.fromkeys(("qwen3", "gemma3", "olmo2"), HEAD_NORMS),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_product_has_its_role(variant: str, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", *VARIANTS[variant])
    export_judge(checkpoint, tmp_path / "judge", verify_judge=False)
    graph = ir.load(tmp_path / "judge" / "model.onnx").graph
    weighted = [node for node in graph if node.op_type == "MatMul" and node.inputs[1].const_value is not None]
    without = [node for node in weighted if role_of(node) is None]
    assert [node.inputs[1].name for node in without] == ["lager.unembedding", "lager.scale_values"]
    for layer in range(4):
        parts = sorted(role.part for node in weighted if (role := role_of(node)) and role.layer == layer)
        expected = EXPECTED.get(variant, USUAL)
        if variant == "qwen3-moe":  # one layer of it has no experts
            expected = HEAD_NORMS if layer == 1 else ("query", "key", "value", *EXPERTS[1:])
        assert parts == sorted(expected)


def test_gate_and_up_are_told_apart_by_the_activation(tmp_path: Path) -> None:
    for variant in ("llama", "llama-tied-biases", "gemma2", "mixtral"):
        checkpoint = make_checkpoint(tmp_path / variant / "checkpoint", *VARIANTS[variant])
        export_judge(checkpoint, tmp_path / variant / "judge", verify_judge=False)
        graph = ir.load(tmp_path / variant / "judge" / "model.onnx").graph
        for part in ("gate", "up", "down"):
            names = [str(node.inputs[1].name) for node in projections(graph, part)]
            mixtral = {"gate": ".w1.", "up": ".w3.", "down": ".w2."}[part]
            assert all((mixtral if variant == "mixtral" else f"{part}_proj") in name for name in names), names


def test_an_unknown_decoder_has_roles_as_far_as_they_are_known(tmp_path: Path) -> None:
    export_judge(make_checkpoint(tmp_path / "checkpoint", *PHI), tmp_path / "judge")
    graph = ir.load(tmp_path / "judge" / "model.onnx").graph
    assert len(projections(graph, "query", "key", "value", "output")) == 16
    assert len(projections(graph, "down", "gate_up")) == 8


def test_a_role_is_what_was_recorded() -> None:
    node = ir.node("MatMul", [None, None])
    assert role_of(node) is None
    set_role(node, Role(17, "down"))
    assert role_of(node) == Role(17, "down")
