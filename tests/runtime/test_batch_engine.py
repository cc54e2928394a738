"""The engine of GPUs, fed with judges for CUDA that a CPU can run, and with sessions that are none."""

import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lager_onnx.models.errors import GradingError
from lager_onnx.models.graph import BLOCK_TOKENS, OUTPUTS
from lager_onnx.runtime.engines import batches
from lager_onnx.runtime.engines.batches import BatchEngine
from lager_onnx.runtime.engines.cpu import CoreEngine
from lager_onnx.runtime.engines.open import open_engine
from lager_onnx.runtime.session import open_session
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


class FakeGpu:
    """Gives each prompt the number of its last token as its score; waits until others grade `together` with it."""

    def __init__(self, together: threading.Barrier | None = None):
        self.batches, self._together = 0, together

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="input_ids"), SimpleNamespace(name="block_table")]

    def grade(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.batches += 1
        if self._together:
            self._together.wait(timeout=20)
        return {name: batch["score_tokens"].astype(np.float32) for name in OUTPUTS}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "run_batch", lambda session, batch: session.grade(batch))


@pytest.mark.usefixtures("fake")
def test_several_gpus_share_the_prompts_two_batches_each() -> None:
    """Were fewer than four batches in flight, none would end."""
    together = threading.Barrier(4)
    gpus: list[Any] = [FakeGpu(together), FakeGpu(together)]
    engine = BatchEngine(gpus, "CUDAExecutionProvider", batch_tokens=100)
    got = engine.submit([[number] * 60 for number in range(8)])()
    assert [float(outputs["score"]) for outputs in got if outputs] == [59] * 8
    assert [gpu.batches for gpu in gpus] == [4, 4]
    engine.close()


@pytest.mark.usefixtures("fake")
def test_submit_returns_at_once_and_tells_of_a_batch_that_fails() -> None:
    begin = threading.Event()

    class Failing(FakeGpu):
        def grade(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            assert begin.wait(timeout=20)
            if batch["input_ids"].size > 50:
                raise GradingError("memory is short")
            return super().grade(batch)

    gpus: list[Any] = [Failing()]
    engine = BatchEngine(gpus, "CUDAExecutionProvider", batch_tokens=100)
    graded = engine.submit([[1] * 10, [2] * 95, [3] * 10])
    begin.set()
    results = iter(graded)
    assert next(results) is not None
    with pytest.raises(GradingError, match="memory is short"):
        next(results)
    assert engine.submit([[4] * 10])()[0] is not None
    engine.close()
    with pytest.raises(GradingError, match="closed"):
        engine.submit([[1]])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_judge_for_cuda_grades_as_in_float32(precision: Any, tiny_checkpoint: Path, tmp_path: Path) -> None:
    from lager_onnx.export import export_judge

    export_judge(tiny_checkpoint, tmp_path / "fp32", verify_judge=False)
    export_judge(tiny_checkpoint, tmp_path / "cuda", precision=precision, target="cuda", verify_judge=False)
    engine = BatchEngine([emulated_session(tmp_path / "cuda", tmp_path / "emulated")], "CPUExecutionProvider")
    cores = open_engine(tmp_path / "fp32" / "model.onnx", device="cpu", threads=1)
    pairs = zip(engine.submit(CRITERIA)(), cores.submit(CRITERIA)(), strict=True)
    apart = [abs(float(one["score"] - other["score"])) for one, other in pairs if one and other]
    assert 0 < max(apart) < {"bf16": 0.1, "fp16": 0.02}[precision]


def test_an_engine_of_batches_can_be_closed_twice(tiny_judge: Path) -> None:
    engine = BatchEngine([open_session(tiny_judge / "model.onnx", device="cpu").session], "CPUExecutionProvider")
    assert engine.submit([[1, 2, 3]], 128)()[0] is not None
    engine.close()
    engine.close()
    with pytest.raises(GradingError, match="closed"):
        engine.submit([[1, 2, 3]], 128)
