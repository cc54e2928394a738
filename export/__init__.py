"""Checkpoint to judge folder; the only part that needs PyTorch, optimum and transformers, and from ONNX not even these.

from lager_onnx.export import export_judge

export_judge("HuggingFaceTB/SmolLM2-135M-Instruct", "judges/smollm2")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lager_onnx.export.exporter import export_judge

__all__ = ["export_judge"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used; an error names the extra that is missing."""
    if name not in __all__:
        raise AttributeError(f"module 'lager_onnx.export' has no attribute {name!r}")
    from lager_onnx.extras import import_public  # noqa: PLC0415

    return import_public("lager_onnx.export.exporter", name)
