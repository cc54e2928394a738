"""Loads a model whole, as transformers does, where its own code must run: its memory is not bounded."""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
from transformers import PreTrainedModel

from lager_onnx.export.sources.strict import refuse_names
from lager_onnx.export.sources.weight_files import open_weight_files
from lager_onnx.models.errors import CheckpointError

logger = logging.getLogger(__name__)


def load_pretrained(load: Callable[..., tuple[PreTrainedModel, dict[str, Any]]], folder: Path) -> PreTrainedModel:
    """A model in memory, every weight of which is in its files.

    Args:
        load: calls `from_pretrained` with the options that it is given.
        folder: of the checkpoint.

    Raises:
        CheckpointError: memory does not suffice, or weights are missing, surplus, or of another shape.
    """
    needed = 4 * sum(math.prod(shape) for shape in open_weight_files(folder).shapes.values())
    free = psutil.virtual_memory().available
    logger.warning(
        "this checkpoint brings its own code, so it is loaded whole: %.1f GB of memory, %.1f GB are free",
        needed / 1e9, free / 1e9,
    )  # fmt: skip
    if needed > free:
        raise CheckpointError(
            f"{folder} brings its own code and must be loaded whole: that needs {needed / 1e9:.1f} GB of memory, "
            f"{free / 1e9:.1f} GB are free"
        )
    with _nothing_excused():
        model, found = load(output_loading_info=True)
    refuse_names(folder, sorted(found["missing_keys"]), sorted(found["unexpected_keys"]))
    if mismatched := sorted(str(name) for name in found["mismatched_keys"]):
        raise CheckpointError(f"{folder}: {', '.join(mismatched)}: not of the shapes that config.json says")
    return model.eval().requires_grad_(False)


@contextmanager
def _nothing_excused() -> Iterator[None]:
    """Lets transformers report all that is missing or surplus, also what an architecture would pass over."""

    def all_of_them(
        model: PreTrainedModel, missing: list[str], unexpected: list[str], prefixed: bool
    ) -> tuple[list[str], list[str]]:
        prefix = f"{model.base_model_prefix}." if prefixed else ""
        return missing, [name.removeprefix(prefix) for name in unexpected]  # as they stand in the file

    with patch.object(PreTrainedModel, "_adjust_missing_and_unexpected_keys", all_of_them):
        yield
