"""Loads weights strictly: each one comes from the file, and all that the file holds is used.

transformers fills what a file lacks with random numbers, drops what it does not know, and only remarks on it. A judge
made so would be verified against that same random model, and pass.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors import safe_open
from transformers import PreTrainedModel

from lager_onnx.models.errors import CheckpointError

_SHOWN = 6  # names in a message


def load_strictly(load: Callable[..., tuple[PreTrainedModel, dict[str, Any]]], folder: Path) -> PreTrainedModel:
    """A model whose every weight is in its files.

    Args:
        load: calls `from_pretrained` with the options that it is given.
        folder: of the checkpoint, for messages.

    Raises:
        CheckpointError: weights are missing, surplus, or of another shape; says which.
    """
    with _nothing_excused():
        model, found = load(output_loading_info=True)
    missing = sorted(found["missing_keys"])
    surplus = [name for name in sorted(found["unexpected_keys"]) if not _is_rotary_buffer(name, model, folder)]
    mismatched = sorted(str(name) for name in found["mismatched_keys"])
    for what, names in (("lacks", missing), ("holds what this architecture has no place for:", surplus)):
        if names:
            raise CheckpointError(f"{folder}: its file {what} {_named(names)}. {_hint(missing, surplus)}")
    if mismatched:
        raise CheckpointError(f"{folder}: {_named(mismatched)} are not of the shapes that config.json says")
    _refuse_two_heads(model, folder)
    return model


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


def _hint(missing: list[str], surplus: list[str]) -> str:
    if surplus and all(name.startswith("_orig_mod.") for name in surplus):
        return "Names led by '_orig_mod.' come from torch.compile: save the model that was compiled, not the wrapper"
    if missing and all("lm_head" in name or "embed_out" in name for name in missing):
        return "Without its unembedding it is no judge: is this a reward model, or a base model saved without its head?"
    return "Weights are never made up, and none is dropped: check config.json (number of layers, tied embeddings)"


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _is_rotary_buffer(name: str, model: PreTrainedModel, folder: Path) -> bool:
    """Whether a surplus tensor is the frequencies that old checkpoints carry in every layer, as the model has them."""
    if not name.endswith("rotary_emb.inv_freq"):
        return False
    own = getattr(getattr(model.get_decoder(), "rotary_emb", None), "inv_freq", None)
    stored = read_tensor(folder, name)
    return own is not None and stored is not None and torch.allclose(own.float(), stored.float(), rtol=1e-2)


def _refuse_two_heads(model: PreTrainedModel, folder: Path) -> None:
    """A tied head and embedding that are two different tensors in the file: one of them would be lost."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None or head.weight is not embedding.weight:
        return
    names = {module: name for name, module in model.named_modules()}
    stored = [read_tensor(folder, f"{names[module]}.weight") for module in (head, embedding)]
    if stored[0] is not None and stored[1] is not None and not torch.equal(stored[0], stored[1]):
        raise CheckpointError(
            f"{folder}: config.json ties the unembedding to the embedding, but the file holds two different tensors "
            f'({names[head]}.weight, {names[embedding]}.weight). Set "tie_word_embeddings": false in config.json'
        )


def read_tensor(folder: Path, name: str) -> torch.Tensor | None:
    """A tensor of the checkpoint's files by its name there; None where no file holds it."""
    for file in _files(folder, "*.safetensors"):
        with safe_open(file, framework="pt") as tensors:
            if name in tensors.keys():  # noqa: SIM118 - no mapping
                found: torch.Tensor = tensors.get_tensor(name)
                return found
    for file in _files(folder, "pytorch_model*.bin"):
        content = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
        if name in content:
            return content[name]  # type: ignore[no-any-return]
    return None


def _files(folder: Path, pattern: str) -> Iterable[Path]:
    return sorted(folder.glob(pattern))
