"""Which device a judge runs on, where CUDA could and where it could not; nothing here runs on a GPU."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from lager_onnx import Judge
from lager_onnx.cli import main
from lager_onnx.models.device import gpus_of
from lager_onnx.models.errors import DeviceError
from lager_onnx.runtime import device as devices


@pytest.fixture
def with_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "why_no_cuda", lambda: None)


@pytest.mark.usefixtures("with_cuda")
def test_a_judge_in_float32_runs_on_the_cpu_beside_a_gpu(tiny_judge: Path) -> None:
    judge = Judge.load(tiny_judge, device="auto")
    assert judge.provider == "CPUExecutionProvider"
    assert judge.score([{"instruction": "Count.", "response": "good"}])[0].score > 1


@pytest.mark.usefixtures("with_cuda")
@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
def test_cuda_is_refused_for_it_with_the_way_out(precision: str, tiny_judges: dict[str, Path]) -> None:
    with pytest.raises(DeviceError, match='export the judge with target="cuda", or use device="cpu"'):
        Judge.load(tiny_judges[precision], device="cuda")


def test_a_judge_in_bf16_says_that_it_is_for_cuda(tiny_checkpoint: Path, tmp_path: Path) -> None:
    from lager_onnx.export import export_judge

    spec = export_judge(tiny_checkpoint, tmp_path / "judge", target="cuda", verify_judge=False)
    assert (spec.precision, spec.arithmetic) == ("bf16", "bf16")
    for device in ("cpu", "auto"):
        with pytest.raises(DeviceError, match='export it without target="cuda"'):
            Judge.load(tmp_path / "judge", device=device)


def test_float32_is_not_exported_for_cuda(tiny_checkpoint: Path, tmp_path: Path) -> None:
    from lager_onnx.export import export_judge
    from lager_onnx.models.errors import ExportError

    with pytest.raises(ExportError, match="fp32 is for the CPU: choose bf16, fp16 or int4"):
        export_judge(tiny_checkpoint, tmp_path / "judge", precision="fp32", target="cuda")


@pytest.mark.parametrize(
    ("device", "gpus"), [("cpu", ()), ("cuda", (0,)), ("cuda:1", (1,)), ("cuda:0, cuda:2", (0, 2))]
)
def test_gpus_are_named_by_number(device: str, gpus: tuple[int, ...]) -> None:
    assert gpus_of(device) == gpus


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:0,cpu", "cuda:1,cuda:1", "cuda,cuda:0", ""])
def test_what_is_no_device_is_refused(device: str, tiny_judge: Path) -> None:
    with pytest.raises(DeviceError, match="GPUs by number"):
        Judge.load(tiny_judge, device=device)
    result = CliRunner().invoke(main, ["score", str(tiny_judge), "-", "--device", device])
    assert (result.exit_code, "GPUs by number" in result.output) == (2, True)
