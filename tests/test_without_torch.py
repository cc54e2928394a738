"""Scoring in an environment that has only lager-onnx[cpu]."""

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "samples" / "responses.jsonl"
FORBIDDEN = ("torch", "optimum", "transformers", "accelerate", "onnx", "onnx_ir")


def test_scoring_imports_nothing_of_the_exporter_s(tiny_judge: Path) -> None:
    code = (
        "import sys; from lager_onnx import Judge; import lager_onnx.cli\n"
        f"Judge.load({str(tiny_judge)!r}).score([{{'instruction': 'a', 'response': 'b'}}])\n"
        f"assert not set(sys.modules) & set({FORBIDDEN!r}), set(sys.modules) & set({FORBIDDEN!r})"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, cwd=tiny_judge)


def test_help_imports_next_to_nothing() -> None:
    code = "import sys, lager_onnx.cli; assert not set(sys.modules) & {'numpy', 'onnxruntime', 'tokenizers', 'torch'}"
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts folder of a fresh virtual environment with the wheel and its extra [cpu] alone."""
    folder = tmp_path_factory.mktemp("bare")
    wheels = folder / "wheels"
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", wheels, ROOT]
    subprocess.run(build, check=True)
    venv.create(folder / "venv", with_pip=True)
    (wheel,) = wheels.glob("lager_onnx-*.whl")
    scripts = folder / "venv" / "bin"
    install = [scripts / "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", f"{wheel}[cpu]"]
    subprocess.run(install, check=True)
    return scripts


def test_a_real_judge_scores_without_torch(bare: Path, smollm2_judge: Path, tmp_path: Path) -> None:
    installed = json.loads(subprocess.check_output([bare / "pip", "list", "--format", "json"]))
    assert not {package["name"] for package in installed} & set(FORBIDDEN)
    command = [bare / "lager", "score", smollm2_judge, SAMPLE, "-o", tmp_path / "out.jsonl"]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(rows) == len(SAMPLE.read_text().splitlines())
    assert all(1 <= row["score"] <= 5 for row in rows)


def test_export_says_what_to_install(bare: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [bare / "lager", "export", "x", tmp_path / "judge"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "pip install 'lager-onnx[cpu,export]'" in result.stderr
