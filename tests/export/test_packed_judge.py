"""Judges for CUDA, run on a CPU by the engine of GPUs: what prompts share is there once, and changes nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from lager_onnx.analysis.depth.cut import cut
from lager_onnx.export import export_judge
from lager_onnx.export.decoder.roles import Role, role_of
from lager_onnx.models.errors import DeviceError
from lager_onnx.models.graph import BLOCK_TOKENS, OUTPUTS
from lager_onnx.runtime.engines.batches import BatchEngine
from lager_onnx.runtime.engines.cpu import CoreEngine
from lager_onnx.runtime.engines.open import open_engine
from support.cuda import emulated_session, packed_engine

TEXT = np.random.default_rng(0).integers(0, 50, BLOCK_TOKENS + 150).tolist()
CRITERIA = [[*TEXT, number, *[9] * 20] for number in range(7)]
OTHERS = [TEXT[:5], [], TEXT[:300], TEXT[:300], [3, 1, 4], TEXT[: BLOCK_TOKENS + 1], [8] * 40]


def agree(got: list[Any], expected: list[Any]) -> None:
    assert [outputs is None for outputs in got] == [outputs is None for outputs in expected]
    for one, other in zip(got, expected, strict=True):
        for name in OUTPUTS if one else ():
            assert np.abs(one[name] - other[name]).max() <= 2e-5 * np.abs(other[name]).max()


@pytest.mark.parametrize("batch_tokens", [1, 64, 500, 4096])
def test_packed_batches_give_what_every_prompt_gives_alone(tiny_judge: Path, tmp_path: Path, batch_tokens: int) -> None:
    prompts = [*OTHERS, *CRITERIA]
    cores = open_engine(tiny_judge / "model.onnx", device="cpu", threads=1)
    packed = packed_engine(tiny_judge, tmp_path / "packed")
    agree(packed.submit(prompts, batch_tokens)(), cores.submit(prompts)())


def test_seven_criteria_cost_as_many_tokens_as_on_the_cpu(tiny_judge: Path, tmp_path: Path) -> None:
    cores = open_engine(tiny_judge / "model.onnx", device="cpu", threads=1)
    packed = packed_engine(tiny_judge, tmp_path / "packed")
    agree(packed.submit(CRITERIA)(), cores.submit(CRITERIA)())
    assert packed.tokens == cores.tokens == len(TEXT) + 7 * 21


def test_several_texts_under_several_criteria_too(tiny_judge: Path, tmp_path: Path) -> None:
    texts = [np.random.default_rng(seed).integers(0, 50, 100 + 40 * seed).tolist() for seed in range(1, 8)]
    prompts = [[*TEXT[:60], *text, end, *[9] * 15] for end in range(4) for text in texts]
    cores = open_engine(tiny_judge / "model.onnx", device="cpu", threads=1)
    assert isinstance(cores, CoreEngine)
    packed = packed_engine(tiny_judge, tmp_path / "packed")
    agree(packed.submit(prompts)(), cores.submit(prompts)())
    assert packed.tokens == 60 + sum(map(len, texts)) + len(prompts) * 16
    assert cores.tokens == packed.tokens


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_judge_for_cuda_grades_as_in_float32(precision: Any, tiny_checkpoint: Path, tmp_path: Path) -> None:
    export_judge(tiny_checkpoint, tmp_path / "fp32", verify_judge=False)
    export_judge(tiny_checkpoint, tmp_path / "cuda", precision=precision, target="cuda", verify_judge=False)
    engine = BatchEngine([emulated_session(tmp_path / "cuda", tmp_path / "emulated")], "CPUExecutionProvider")
    cores = open_engine(tmp_path / "fp32" / "model.onnx", device="cpu", threads=1)
    pairs = zip(engine.submit(CRITERIA)(), cores.submit(CRITERIA)(), strict=True)
    apart = [abs(float(one["score"] - other["score"])) for one, other in pairs if one and other]
    assert 0 < max(apart) < {"bf16": 0.1, "fp16": 0.02}[precision]


def test_a_judge_for_cuda_is_cut_where_cuda_runs(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_judge(tiny_checkpoint, tmp_path / "judge", target="cuda", verify_judge=False)
    with pytest.raises(DeviceError, match="for CUDA, which does not run here"):
        cut(tmp_path / "judge", tmp_path / "cut", depth=2)
    assert not (tmp_path / "cut").exists()

    def emulated(judge: Path, *_: object, **__: object) -> BatchEngine:
        return BatchEngine([emulated_session(judge, tmp_path / f"emulated-{judge.name}")], "CPUExecutionProvider")

    monkeypatch.setattr("lager_onnx.analysis.depth.cut.open_judge_engine", emulated)
    cut(tmp_path / "judge", tmp_path / "cut", depth=2)
    nodes = list(ir.load(tmp_path / "cut" / "model.onnx").graph)
    attentions = [index for index, node in enumerate(nodes) if node.op_type == "PagedAttention"]
    (down,) = (index for index, node in enumerate(nodes) if (role := role_of(node)) and role == Role(1, "down"))
    assert len(attentions) == 2
    # Behind the new last attention, only the score position goes on.
    assert [node.op_type for node in nodes[attentions[-1] : down]].count("GatherND") == 2


def test_4_bits_for_cuda_multiply_in_bf16(tiny_checkpoint: Path, tmp_path: Path) -> None:
    spec = export_judge(tiny_checkpoint, tmp_path / "judge", precision="int4", target="cuda")
    assert (spec.precision, spec.arithmetic) == ("int4", "bf16")
    graph = ir.load(tmp_path / "judge" / "model.onnx").graph
    products = [node for node in graph if node.op_type == "MatMulNBits"]
    assert len(products) == 20
    for node in products:
        types = [node.inputs[0].dtype, node.inputs[2].dtype, node.outputs[0].dtype]
        assert types == [ir.DataType.BFLOAT16] * 3
        assert node.attributes["accuracy_level"].as_int() == 0
    assert spec.agreement is not None
    assert spec.agreement.score < 0.08
