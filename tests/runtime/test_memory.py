"""What of a judge is held in memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from lager_onnx import Judge
from lager_onnx.cli import main
from lager_onnx.export import export_judge, exporter
from lager_onnx.models.errors import DeviceError
from lager_onnx.models.precisions import Precision
from lager_onnx.runtime import memory
from lager_onnx.runtime.memory import GIGABYTE, choose_packing, free_memory, parse_memory
from support.tiny import HEAD, make_checkpoint

RECORDS = [{"instruction": "Name a prime.", "response": "Seven. " * number} for number in (1, 20, 3, 40)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("8GB", 8 * 10**9), ("8 gib", 8 * 2**30), ("500MB", 5 * 10**8), ("1.5GB", 15 * 10**8), ("1000", 1000)],
)
def test_sizes(text: str, expected: int) -> None:
    assert parse_memory(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "eight", "8 giraffes"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="could not convert"):
        parse_memory(text)


def test_a_judge_says_the_same_however_its_weights_are_held(
    tiny_judges: dict[str, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for judge in tiny_judges.values():
        graph, precision = judge / "model.onnx", Judge.load(judge, device="cpu").spec.precision
        weights = (judge / "model.onnx_data").stat().st_size
        scores = []
        for copies, packed, every_core in ((0.5, False, False), (1.5, True, False), (2.5, True, True)):
            monkeypatch.setattr(memory, "free_memory", lambda copies=copies, size=weights: int(copies * size / 0.4))
            packing = choose_packing(graph, precision)
            assert (packing.packed, packing.every_core) == (packed, every_core)
            scores.append([grade.score for grade in Judge.load(judge, device="cpu").score(RECORDS)])
        np.testing.assert_allclose(scores[1:], [scores[0]] * 2, atol=0.04 if precision == "int4" else 1e-4)
    assert "they stay in the mapped file" in caplog.text


def test_too_little_memory_is_refused_with_what_is_needed(tiny_judge: Path) -> None:
    with pytest.raises(DeviceError, match=r"0\.1 GB of memory are too little for this judge: it needs 0\.4 GB"):
        Judge.load(tiny_judge, device="cpu", max_memory=10**8)
    Judge.load(tiny_judge, device="cpu", max_memory=GIGABYTE)
    result = CliRunner().invoke(main, ["score", str(tiny_judge), "-", "--max-memory", "much"], input="{}")
    assert "'much' is no size such as 8GB" in result.stderr


def test_what_this_process_holds_and_could_hold() -> None:
    # In a process of its own: from one that ran many tests, the system takes pages back meanwhile.
    taken = """
import numpy as np
from lager_onnx.runtime.memory import held
before = held().anonymous
block = np.ones(50 * 10**6, np.uint8)
print(held().anonymous - before if block.all() else 0)
"""
    said = subprocess.run([sys.executable, "-c", taken], capture_output=True, text=True, check=True).stdout
    assert 45 * 10**6 < int(said) < 80 * 10**6
    assert free_memory() > 10**8


def test_a_container_s_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    assert free_memory() == 2_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory() > 2_000_000


_GRADE = """
import sys
from lager_onnx import Judge
from lager_onnx.runtime.memory import held
judge = Judge.load(sys.argv[1], device="cpu", max_memory=500_000_000)
before = held().anonymous
judge.score([{"instruction": "Name a prime.", "response": "Seven."}])
print(held().anonymous - before)
"""


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_weights_in_16_bits_are_widened_one_at_a_time(
    precision: Precision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 16}
    checkpoint = make_checkpoint(tmp_path / "checkpoint", "llama", deep, head=HEAD)
    whole = exporter.built_in_records
    monkeypatch.setattr(exporter, "built_in_records", lambda kind: list(whole(kind))[:2])
    export_judge(checkpoint, tmp_path / "judge", precision=precision, template="brief", verify_judge=False)
    widened = 2 * (tmp_path / "judge" / "model.onnx_data").stat().st_size
    command = [sys.executable, "-c", _GRADE, str(tmp_path / "judge")]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown < widened / 4
