"""Disk and memory are looked at before an export starts."""

import resource
import shutil
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from lager_onnx.cli import main
from lager_onnx.export import export_judge, room
from lager_onnx.export.checkpoint import load_checkpoint
from lager_onnx.export.room import room_needed
from lager_onnx.models.errors import ExportError, OutputError
from lager_onnx.models.precisions import Precision
from lager_onnx.models.spec import WEIGHTS_FILE
from support.tiny import HEAD, VARIANTS, make_checkpoint

Usage = namedtuple("Usage", "total used free")


def test_a_full_disk_is_told_before_it_is_full(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12, 10**6))
    with pytest.raises(ExportError, match=rf"the judge needs 0\.0 GB in {tmp_path}, 0\.0 GB are free: make room"):
        export_judge(tiny_checkpoint, tmp_path / "judge")
    assert not any(tmp_path.iterdir())


def test_memory_that_does_not_suffice_is_told(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = CliRunner().invoke(
        main, ["export", str(tiny_checkpoint), str(tmp_path / "judge"), "--max-memory", "500MB"]
    )
    assert result.exit_code == 1
    assert "this export needs 1.1 GB of memory, 0.5 GB are allowed: raise --max-memory" in result.stderr
    monkeypatch.setattr(room, "free_memory", lambda: 10**8)
    with pytest.raises(ExportError, match=r"needs 1\.1 GB of memory, 0\.1 GB are free"):
        export_judge(tiny_checkpoint, tmp_path / "judge")
    assert not any(tmp_path.iterdir())


@contextmanager
def _files_up_to(size: int) -> Iterator[None]:
    """Writing behind the first `size` bytes of a file fails, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_disk_that_is_full_in_the_middle_leaves_nothing(tmp_path: Path, precision: Precision) -> None:
    model_type, options = VARIANTS["llama"]
    wide = options | {"hidden_size": 256, "intermediate_size": 512}  # weights that are larger than the traced graph
    checkpoint = make_checkpoint(tmp_path / "checkpoint", model_type, wide, head=HEAD)
    judge = tmp_path / "judges" / "judge"
    export_judge(checkpoint, judge, precision=precision, verify_judge=False)
    weights = (judge / WEIGHTS_FILE).stat().st_size
    shutil.rmtree(judge)
    for size in (10_000, weights - 1):  # full while the graph is traced; full before the last weight is written
        with _files_up_to(size), pytest.raises(OutputError, match=f"cannot write {judge}: File too large"):
            export_judge(checkpoint, judge, precision=precision)
        assert not any(judge.parent.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "judge"),
    [("fp32", "smollm2_judge"), pytest.param("int8", "smollm2_int8_judge", marks=pytest.mark.large)],
)
def test_what_a_judge_takes_on_disk_is_foretold(
    smollm2_checkpoint: Path, precision: Precision, judge: str, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(judge)
    size = sum(file.stat().st_size for file in folder.iterdir())
    needed = room_needed(load_checkpoint(str(smollm2_checkpoint)), precision).disk
    assert needed == pytest.approx(size, rel=0.06)
