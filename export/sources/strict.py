"""Matches a checkpoint's tensors with a model's parameters: each one is in the files, and all in the files are used.

transformers fills what a file lacks with random numbers, drops what it does not know, and only remarks on it. A judge
made so would be verified against that same random model, and pass.
"""

from pathlib import Path

import torch
from transformers import PreTrainedModel

from lager_onnx.export.sources.tensors import Renamed, Tensors
from lager_onnx.models.errors import CheckpointError

_SHOWN = 6  # names in a message


def match_tensors(tensors: Tensors, model: PreTrainedModel, where: Path) -> Tensors:
    """The checkpoint's tensors under the names of the model's parameters; fills its stored buffers too.

    Args:
        tensors: under the files' names.
        model: without weights.
        where: the checkpoint, for messages.

    Raises:
        CheckpointError: tensors are missing, surplus, or of another shape; says which.
    """
    stored = _stored_names(tensors, model)
    groups: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        groups.setdefault(id(parameter), []).append(name)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    buffers = {name: tensor for name, tensor in model.state_dict().items() if name not in parameters}
    known = parameters.keys() | buffers.keys()
    missing = [min(group) for group in groups.values() if not stored.keys() & set(group)]
    missing += [name for name in buffers if name not in stored]
    surplus = [
        theirs for name, theirs in stored.items() if name not in known and not _is_rotary_buffer(theirs, model, tensors)
    ]
    refuse_names(where, sorted(missing), sorted(surplus))
    shapes = {name: tuple(tensor.shape) for name, tensor in (parameters | buffers).items()}
    mismatched = [
        f"{theirs} {tensors.shapes[theirs]} (expected {shapes[name]})"
        for name, theirs in stored.items()
        if name in known and tensors.shapes[theirs] != shapes[name]
    ]
    if mismatched:
        raise CheckpointError(f"{where}: {_named(sorted(mismatched))}: not of the shapes that config.json says")
    with torch.no_grad():
        for name, buffer in buffers.items():
            buffer.copy_(tensors.read(stored[name]))
    return Renamed(
        tensors, {name: _one_of(group, stored, tensors, where) for group in groups.values() for name in group}
    )


def _stored_names(tensors: Tensors, model: PreTrainedModel) -> dict[str, str]:
    """Names in the files by the model's own, as transformers would rename them."""
    prefix = model.base_model_prefix
    # A checkpoint saved from the decoder alone, without the head that is tied to its embedding.
    of_the_base = hasattr(model, prefix) and not any(name.startswith(prefix) for name in tensors.shapes)
    renamed = model._get_key_renaming_mapping(
        list(tensors.shapes),
        model._checkpoint_conversion_mapping,
        loading_task_model_from_base_state_dict=of_the_base,
    )
    return {ours: theirs for theirs, ours in renamed.items()}


def _one_of(group: list[str], stored: dict[str, str], tensors: Tensors, where: Path) -> str:
    """The file's name of a parameter that the model may know under several (a head that is tied to the embedding)."""
    first, *others = [stored[name] for name in group if name in stored]
    for other in others:
        if not torch.equal(tensors.read(first), tensors.read(other)):
            raise CheckpointError(
                f"{where}: config.json ties the unembedding to the embedding, but the file holds two different tensors "
                f'({first}, {other}). Set "tie_word_embeddings": false in config.json'
            )
    return first


def refuse_names(where: Path, missing: list[str], surplus: list[str]) -> None:
    """Says what a checkpoint lacks, or what of it would not be used."""
    for what, names in (("lacks", missing), ("holds what this architecture has no place for:", surplus)):
        if names:
            raise CheckpointError(f"{where}: its file {what} {_named(names)}. {_hint(missing, surplus)}")


def _hint(missing: list[str], surplus: list[str]) -> str:
    if surplus and all(name.startswith("_orig_mod.") for name in surplus):
        return "Names led by '_orig_mod.' come from torch.compile: save the model that was compiled, not the wrapper"
    if missing and all("lm_head" in name or "embed_out" in name for name in missing):
        return "Without its unembedding it is no judge: is this a reward model, or a base model saved without its head?"
    return "Weights are never made up, and none is dropped: check config.json (number of layers, tied embeddings)"


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _is_rotary_buffer(name: str, model: PreTrainedModel, tensors: Tensors) -> bool:
    """Whether a surplus tensor is the frequencies that old checkpoints carry in every layer, as the model has them."""
    if not name.endswith("rotary_emb.inv_freq"):
        return False
    own = getattr(getattr(model.get_decoder(), "rotary_emb", None), "inv_freq", None)
    return own is not None and torch.allclose(own.float(), tensors.read(name).float(), rtol=1e-2)
