"""Scoring on an NVIDIA GPU; `make test-cuda` where there is one."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from lager_onnx import Judge
from lager_onnx.export import export_judge
from lager_onnx.models.errors import DeviceError
from lager_onnx.models.precisions import PARITY, Precision
from support.tiny import HEAD, VARIANTS, make_checkpoint

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        "CUDAExecutionProvider" not in onnxruntime.get_available_providers(),
        reason="needs an NVIDIA GPU and onnxruntime-gpu",
    ),
]


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int4"])
@pytest.mark.parametrize("variant", ["llama", "gemma2", "qwen2", "qwen2-window", "qwen3", "phi3"])
def test_cuda_scores_as_the_cpu_does(variant: str, precision: Precision, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", *VARIANTS[variant], head=HEAD)
    export_judge(checkpoint, tmp_path / "fp32", verify_judge=False)
    export_judge(checkpoint, tmp_path / precision, precision=precision, target="cuda", verify_judge=False)
    records = [{"instruction": "Name a prime.", "response": "good " * number} for number in range(1, 30)]
    cuda, cpu = Judge.load(tmp_path / precision, device="cuda"), Judge.load(tmp_path / "fp32", device="cpu")
    assert (cuda.provider, cpu.provider) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    got, expected = ([grade.score for grade in judge.score(records)] for judge in (cuda, cpu))
    width = 4 * (PARITY[precision].score if precision != "int4" else 0.1)
    np.testing.assert_allclose(got, expected, atol=width)


def test_a_shared_prefix_changes_nothing_and_costs_no_tokens(tiny_checkpoint: Path, tmp_path: Path) -> None:
    export_judge(tiny_checkpoint, tmp_path / "judge", target="cuda", verify_judge=False)
    judge = Judge.load(tmp_path / "judge", device="cuda")
    response = "good " * 300
    records = [{"instruction": "Count.", "response": response, "criterion": text} for text in ("a", "b", "one more")]
    together = judge.score(records)
    tokens = judge._engine.tokens
    alone = [judge.score([record])[0] for record in records]
    assert tokens < 1.5 * alone[0].tokens
    apart = [np.abs(one.layer_logits - other.layer_logits).max() for one, other in zip(together, alone, strict=True)]
    assert max(apart) < 0.1 * np.abs(alone[0].layer_logits).max()


def test_a_judge_in_float32_is_not_run_by_halves(tiny_judge: Path) -> None:
    with pytest.raises(DeviceError, match='export the judge with target="cuda"'):
        Judge.load(tiny_judge, device="cuda")
    assert Judge.load(tiny_judge).provider == "CPUExecutionProvider"


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_16_bit_products_agree_with_float32(precision: Precision, smollm2_checkpoint: Path, tmp_path: Path) -> None:
    """On a real judge, whose residual stream reaches thousands."""
    export_judge(smollm2_checkpoint, tmp_path / "fp32", verify_judge=False)
    export_judge(smollm2_checkpoint, tmp_path / precision, precision=precision, target="cuda", verify_judge=False)
    records = [{"instruction": "Name a prime.", "response": "It is seven. " * number} for number in (1, 5, 50)]
    got = Judge.load(tmp_path / precision, device="cuda").score(records)
    expected = Judge.load(tmp_path / "fp32", device="cpu").score(records)
    assert all(np.isfinite(grade.layer_logits).all() for grade in got)
    allowed = PARITY[precision].score * 4
    np.testing.assert_allclose([grade.score for grade in got], [grade.score for grade in expected], atol=allowed)
