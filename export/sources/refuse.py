"""Refuses, by name and before anything large is loaded, what cannot become a judge."""

import json
from pathlib import Path
from typing import Any, Final

from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from lager_onnx.export.sources.text_part import TEXT_TYPES
from lager_onnx.models.errors import CheckpointError

_ADAPTER: Final = "adapter_config.json"
_LFS: Final = b"version https://git-lfs"
_TOKENISERS: Final = ("tokenizer.json", "*.model", "vocab.*", "*.tiktoken", "tokenization_*.py")
_WEIGHTS: Final = ("*.safetensors", "*.bin", "*.gguf", "tokenizer.json")
# Mixtures of experts whose decoder is traced densely and verified; see export/experts.py.
_EXPERTS: Final = ("MixtralForCausalLM", "Qwen3MoeForCausalLM", "OlmoeForCausalLM")
_EXPERT_COUNTS: Final = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
# Kinds that AutoModelForCausalLM lists, although a vision tower comes with them or they are no decoder alone.
_NOT_TEXT: Final = ("ForConditionalGeneration", "ForVision2Seq", "ForImageTextToText")


# Vision models whose language model is a whole decoder, which text_part.py takes out.
TEXT_PARTS: Final = (
    "Gemma3ForConditionalGeneration", "Mistral3ForConditionalGeneration", "LlavaForConditionalGeneration"
)  # fmt: skip


def refuse_files(folder: Path, gguf: str | None) -> None:
    """Looks at the files.

    Raises:
        CheckpointError: an adapter, or a pointer in the place of a file.
    """
    if gguf is None and (folder / _ADAPTER).exists():
        base = _read(folder / _ADAPTER).get("base_model_name_or_path")
        raise CheckpointError(
            f"{folder} is a LoRA or PEFT adapter of {base!r}, or holds one ({_ADAPTER}): merge it first, with "
            "AutoPeftModelForCausalLM.from_pretrained(...).merge_and_unload().save_pretrained(...), and export that"
        )
    has_tokeniser = any(file for pattern in _TOKENISERS for file in folder.glob(pattern))
    if gguf is None and (folder / "config.json").exists() and not has_tokeniser:
        raise CheckpointError(
            f"{folder} holds no tokenizer.json, so its texts cannot become tokens: copy it from the checkpoint that "
            "this one was made from"
        )
    for pattern in (gguf,) if gguf else _WEIGHTS:
        for file in sorted(folder.glob(pattern or "")):
            if file.is_file() and _starts(file, len(_LFS)) == _LFS:
                raise CheckpointError(
                    f"{file} is a Git LFS pointer, not the file itself: run git lfs pull in the checkpoint's repository"
                )


def refuse_config(folder: Path) -> dict[str, Any]:
    """Looks at config.json, and returns its content.

    Raises:
        CheckpointError: it is missing or broken, or the architecture is no causal language model, or one whose text
            part cannot be taken out.
    """
    config = _read(folder / "config.json")
    if not isinstance(config.get("model_type"), str | None):
        raise CheckpointError(
            f"config.json says model_type = {config['model_type']!r}; it must be a name in quotation marks"
        )
    architectures = _architectures(config)
    known = set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
    sees = bool(config.get("vision_config"))
    if not architectures and sees and config.get("model_type") not in TEXT_TYPES:
        architectures = [str(config.get("model_type"))]
    for name in architectures:
        if name in TEXT_PARTS:
            return config
        if name.endswith(_NOT_TEXT) or (sees and name not in known and config.get("model_type") not in TEXT_TYPES):
            raise CheckpointError(
                f"{name} sees images, and its text part cannot be taken out (that of {', '.join(TEXT_PARTS)} can): "
                "export a checkpoint that holds the language model alone"
            )
        if name not in known and "auto_map" not in config and not name.endswith("ForCausalLM"):
            raise CheckpointError(
                f"{name} is no causal language model: it has no unembedding that gives the next token's logits. "
                "Export the chat model that it was made from"
            )
    experts = next((config[name] for name in _EXPERT_COUNTS if isinstance(config.get(name), int)), 0)
    if experts > 1 and not set(architectures) & set(_EXPERTS):
        raise CheckpointError(
            f"{', '.join(architectures) or config.get('model_type')} is a mixture of {experts} experts of a kind that "
            f"is not supported; {', '.join(_EXPERTS)} are"
        )
    return config


def _architectures(config: dict[str, Any]) -> list[str]:
    found = config.get("architectures") or []
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise CheckpointError(f"config.json says architectures = {found!r}; it must be a list of names")
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"cannot load the checkpoint {path.parent}: {path.name} cannot be read ({error.strerror}); give a "
            "directory in Hugging Face format, a .gguf file or a hub id"
        ) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"cannot load the checkpoint {path.parent}: {path.name} is no JSON ({error})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"cannot load the checkpoint {path.parent}: {path.name} holds no object")
    return content


def _starts(file: Path, length: int) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(length)
    except OSError as error:
        raise CheckpointError(f"cannot read {file}: {error.strerror}") from error
