"""Takes the language model out of a vision model's files."""

import re
from pathlib import Path
from typing import Final

import torch
from safetensors import safe_open

from lager_onnx.models.errors import CheckpointError

# What its tensors are called there, before and since transformers 4.52, and what they are called in the model alone.
_NAMES: Final = (
    (re.compile(r"^language_model\.lm_head\."), "lm_head."),
    (re.compile(r"^language_model\.model\."), "model."),
    (re.compile(r"^model\.language_model\."), "model."),
)
# The rest of such a model: eyes, and what leads from them to the language model.
_LEFT_OUT: Final = re.compile(r"^(model\.)?(vision_tower|multi_modal_projector)\.")


def text_part(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of the language model alone, under the names that it has alone.

    Raises:
        CheckpointError: the files are no safetensors.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"{folder} holds no .safetensors, from which alone the text part of a model is taken")
    state: dict[str, torch.Tensor] = {}
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - no mapping
                if not _LEFT_OUT.match(name):
                    state[_alone(name)] = tensors.get_tensor(name)
    return state


def _alone(name: str) -> str:
    for pattern, replacement in _NAMES:
        if pattern.match(name):
            return pattern.sub(replacement, name)
    return name
