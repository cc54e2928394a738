"""The wheel, apart from the tree it is built from: what it holds, and what an environment with few packages can do."""

import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "samples" / "responses.jsonl"
FORBIDDEN = ("torch", "optimum", "transformers", "accelerate", "onnx", "onnx_ir")
TOP_LEVEL = ("analysis", "export", "integrations", "models", "runtime", "serve")


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


def test_the_tests_of_the_runtime_need_no_torch() -> None:
    """Their judges are committed; so they run where only scoring is installed."""
    code = "import sys, conftest; assert not set(sys.modules) & {'torch', 'transformers'}"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from this tree, in which an earlier build has left a module that is gone."""
    ghost = ROOT / "build" / "lib" / "lager_onnx" / "runtime" / "ghost.py"
    made = not ghost.parents[3].exists()
    ghost.parent.mkdir(parents=True, exist_ok=True)
    ghost.write_text("")
    folder = tmp_path_factory.mktemp("wheels")
    try:
        build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
        subprocess.run(build, check=True)
    finally:
        ghost.unlink()
        for part in list(ghost.parents)[: 4 if made else 0]:
            part.rmdir()
    (found,) = folder.glob("lager_onnx-*.whl")
    return found


@pytest.mark.slow
def test_the_wheel_holds_the_modules_of_the_tree_and_no_others(wheel: Path) -> None:
    files = [file for folder in TOP_LEVEL for file in (ROOT / folder).rglob("*") if file.is_file()]
    expected = {f"lager_onnx/{file.relative_to(ROOT)}" for file in files if "__pycache__" not in file.parts}
    front = ROOT / "src" / "lager_onnx"
    expected |= {
        f"lager_onnx/{file.relative_to(front)}"
        for file in [*front.glob("*.py"), *front.glob("commands/*.py"), front / "py.typed"]
    }
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == expected
    assert {"lager_onnx/models/templates/direct.txt", "lager_onnx/runtime/saturating_product.onnx"} <= held


@pytest.mark.slow
def test_the_source_distribution_holds_all_tests(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--sdist", "--outdir", tmp_path, ROOT], check=True, capture_output=True
    )
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as held:
        names = {name.split("/", 1)[1] for name in held.getnames()}
    tests = [file for file in (ROOT / "tests").rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    assert {str(file.relative_to(ROOT)) for file in tests} <= names
    assert {"Makefile", "constraints.txt", "export/exporter.py", "docs/method.md", "samples/responses.jsonl"} <= names


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts folder of a fresh virtual environment with the wheel and none of its extras."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder / "venv", with_pip=True)
    scripts = folder / "venv" / "bin"
    install(scripts, str(wheel))
    return scripts


def install(scripts: Path, what: str) -> None:
    command = [str(scripts / "pip"), "install", "--quiet", "--constraint", str(ROOT / "constraints.txt"), what]
    subprocess.run(command, check=True)


COMMANDS = {
    "score": ("cpu", ["in.jsonl"]),
    "select": ("cpu", ["in.jsonl", "-o", "out.jsonl"]),
    "inspect": ("cpu,tune", ["in.jsonl", "--html", "page.html"]),
    "bench": ("cpu", []),
    "evaluate": ("cpu,tune", ["in.jsonl"]),
    "tune": ("cpu,tune", ["in.jsonl", "--dry-run"]),
    "cut": ("cpu,tune", ["--depth", "2", "-o", "other"]),
    "export": ("cpu,export", ["other"]),
    "serve": ("cpu,serve", ["--port", "0"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_without_an_extra_every_command_says_which(command: str, bare: Path, tiny_judge: Path, tmp_path: Path) -> None:
    extra, arguments = COMMANDS[command]
    (tmp_path / "in.jsonl").write_text('{"instruction": "a", "response": "b", "human_score": 3}\n')
    result = subprocess.run(
        [bare / "lager", command, tiny_judge, *arguments], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert result.returncode == 2, result.stderr
    assert f"pip install 'lager-onnx[{extra}]'" in result.stderr
    assert "Traceback" not in result.stderr
    help_ = subprocess.run([bare / "lager", command, "--help"], capture_output=True, text=True, check=True)
    assert "Usage" in help_.stdout


@pytest.mark.slow
def test_without_an_extra_python_says_which(bare: Path) -> None:
    code = "from lager_onnx import Judge"
    result = subprocess.run([bare / "python", "-c", code], capture_output=True, text=True, check=False)
    assert "MissingPackageError: this needs the package onnxruntime" in result.stderr


@pytest.fixture(scope="module")
def cpu_only(bare: Path, wheel: Path) -> Path:
    """The same with the extra [cpu]."""
    install(bare, f"{wheel}[cpu]")
    return bare


@pytest.mark.large
@pytest.mark.slow
def test_a_real_judge_scores_without_torch(cpu_only: Path, smollm2_judge: Path, tmp_path: Path) -> None:
    installed = json.loads(subprocess.check_output([cpu_only / "pip", "list", "--format", "json"]))
    assert not {package["name"] for package in installed} & set(FORBIDDEN)
    command = [str(each) for each in (cpu_only / "lager", "score", smollm2_judge, SAMPLE, "-o", tmp_path / "out.jsonl")]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    here = subprocess.check_output([Path(sys.executable).with_name("lager"), "score", smollm2_judge, SAMPLE])
    scores = [[json.loads(line)["score"] for line in text.splitlines()] for text in (
        (tmp_path / "out.jsonl").read_bytes(), here)]  # fmt: skip
    assert len(scores[0]) == len(SAMPLE.read_text().splitlines())
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)
