"""`lager doctor`, on machines that are described here and on this one."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from lager_onnx.cli import main
from lager_onnx.runtime import doctor
from lager_onnx.runtime.cores import usable_cores
from lager_onnx.runtime.doctor import Machine

PLAIN = Machine(4, ("avx2",), 8 * 10**9, exact=False, gpus=(), why_no_cuda="it was built without CUDA")


def test_the_advice_is_for_the_machine() -> None:
    assert "somewhat faster" in PLAIN.advice
    assert "more than twice" in replace(PLAIN, instruction_sets=("avx2", "avx512_vnni")).advice
    assert "more than twice" in replace(PLAIN, instruction_sets=("asimddp",)).advice
    gpu = replace(PLAIN, gpus=("NVIDIA H100, 80000 MiB",), why_no_cuda=None)
    assert "--target cuda" in gpu.advice
    assert "--target cuda" not in replace(gpu, why_no_cuda="no driver").advice


def test_a_processor_s_sets_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "cpuinfo"
    monkeypatch.setattr(doctor, "_CPUINFO", info)
    assert doctor._instruction_sets() == ()
    info.write_text("processor\t: 0\nflags\t\t: fpu avx2 avx512_vnni amx_int8\n")
    assert doctor._instruction_sets() == ("avx2", "avx512_vnni", "amx_int8")
    info.write_text("processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\n")
    assert doctor._instruction_sets() == ("asimddp", "i8mm")


def test_gpus_are_those_of_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor._gpus() == ()
    program.write_text("#!/bin/sh\necho 'NVIDIA H100, 79000 MiB, 80000 MiB, 580.1'\n")
    program.chmod(0o755)
    assert doctor._gpus() == ("NVIDIA H100, 79000 MiB, 80000 MiB, 580.1",)
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    assert doctor._gpus() == ()


def test_it_says_what_is_here() -> None:
    said = CliRunner().invoke(main, ["doctor"])
    assert said.exit_code == 0
    assert f"{usable_cores()} that this process may use" in said.output
    assert "CPUExecutionProvider" in said.output
    assert "export with" in said.output
