"""What needs people's labels: reading them, agreement, tuning, cutting; and pages that show what layers say.

from lager_onnx import Judge
from lager_onnx.analysis import evaluate

judge = Judge.load("judges/smollm2")
evaluate(judge, [{"instruction": "Name a prime.", "response": "Seven.", "human_score": 5}, ...])
"""

from typing import TYPE_CHECKING, Any

from lager_onnx.extras import import_public

if TYPE_CHECKING:
    from lager_onnx.analysis.depth.cut import cut
    from lager_onnx.analysis.evaluation.evaluate import compare, evaluate
    from lager_onnx.analysis.inspect import describe
    from lager_onnx.analysis.labels.overlap import overlap
    from lager_onnx.analysis.pages.layers import inspect_page
    from lager_onnx.analysis.tuning.tune import tune

__all__ = ["compare", "cut", "describe", "evaluate", "inspect_page", "overlap", "tune"]

_HOME = {
    "compare": "evaluation.evaluate",
    "cut": "depth.cut",
    "describe": "inspect",
    "evaluate": "evaluation.evaluate",
    "inspect_page": "pages.layers",
    "overlap": "labels.overlap",
    "tune": "tuning.tune",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: each needs packages of its own."""
    if name not in _HOME:
        raise AttributeError(f"module 'lager_onnx.analysis' has no attribute {name!r}")
    return import_public(f"lager_onnx.analysis.{_HOME[name]}", name)
