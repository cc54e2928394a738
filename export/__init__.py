"""Checkpoint to judge folder; the only part that needs PyTorch, optimum and transformers, and from ONNX not even these.

from lager_onnx.export import export_judge

export_judge("HuggingFaceTB/SmolLM2-135M-Instruct", "judges/smollm2")
"""

from lager_onnx.export.exporter import export_judge

__all__ = ["export_judge"]
