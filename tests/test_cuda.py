"""Scoring on an NVIDIA GPU; `make test-cuda` where there is one."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from lager_onnx import Judge

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        "CUDAExecutionProvider" not in onnxruntime.get_available_providers(),
        reason="needs an NVIDIA GPU and onnxruntime-gpu",
    ),
]


def test_cuda_scores_as_the_cpu_does(tiny_judge: Path) -> None:
    records = [{"instruction": "Name a prime.", "response": "good " * number} for number in range(1, 30)]
    cuda, cpu = (Judge.load(tiny_judge, device=device) for device in ("cuda", "cpu"))
    assert (cuda.provider, cpu.provider) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    got, expected = ([grade.score for grade in judge.score(records)] for judge in (cuda, cpu))
    np.testing.assert_allclose(got, expected, atol=1e-2)
