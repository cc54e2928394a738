"""The engine of GPUs, with sessions that are none."""

import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lager_onnx.models.errors import GradingError
from lager_onnx.models.graph import OUTPUTS
from lager_onnx.runtime.engines import batches
from lager_onnx.runtime.engines.batches import BatchEngine
from lager_onnx.runtime.session import open_session


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


def test_an_engine_of_batches_can_be_closed_twice(tiny_judge: Path) -> None:
    engine = BatchEngine([open_session(tiny_judge / "model.onnx", device="cpu").session], "CPUExecutionProvider")
    assert engine.submit([[1, 2, 3]], 128)()[0] is not None
    engine.close()
    engine.close()
    with pytest.raises(GradingError, match="closed"):
        engine.submit([[1, 2, 3]], 128)
