"""lager-onnx: grade responses with a language model's layers, from one ONNX model, without PyTorch.

from lager_onnx import Judge

judge = Judge.load("judges/smollm2")
judge.score([{"instruction": "Name a prime.", "response": "Seven."}])[0].score
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lager_onnx.models.errors import LagerError
    from lager_onnx.models.spec import JudgeSpec
    from lager_onnx.runtime.grade import Grade
    from lager_onnx.runtime.judge import Judge

# Nothing leaves this machine: onnxruntime, since 1.29, tells its makers what runs unless this is set before its import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["Grade", "Judge", "JudgeSpec", "LagerError"]

_HOME = {
    "Grade": "lager_onnx.runtime.grade",
    "Judge": "lager_onnx.runtime.judge",
    "JudgeSpec": "lager_onnx.models.spec",
    "LagerError": "lager_onnx.models.errors",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: `import lager_onnx` itself costs nothing."""
    if name not in _HOME:
        raise AttributeError(f"module 'lager_onnx' has no attribute {name!r}")
    from lager_onnx.extras import import_public  # noqa: PLC0415

    return import_public(_HOME[name], name)
