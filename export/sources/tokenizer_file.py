"""Reads tokenizer.json, and says what is wrong with one that is no tokeniser."""

import json
from collections.abc import Mapping
from pathlib import Path

from tokenizers import Tokenizer

from lager_onnx.models.errors import CheckpointError

_INSTEAD = "copy it anew from the checkpoint"


def read_tokenizer_file(path: Path) -> Tokenizer:
    """Return the tokeniser in a tokenizer.json.

    Raises:
        CheckpointError: it is missing, empty, or holds no tokeniser; names the file.
    """
    check_tokenizer_file(path)
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises Exception itself
        raise CheckpointError(f"{path} cannot be read ({error}): {_INSTEAD}") from error


def check_tokenizer_file(path: Path) -> None:
    """Refuse a tokenizer.json that is empty, no JSON, or without a model.

    Raises:
        CheckpointError: names the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if text.strip() else None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): {_INSTEAD}") from error
    if content is None:
        raise CheckpointError(f"{path} cannot be read: it {'holds null' if text.strip() else 'is empty'}; {_INSTEAD}")
    if not isinstance(content, Mapping) or not isinstance(content.get("model"), Mapping):
        raise CheckpointError(f"{path} cannot be read: it holds no tokeniser (no object 'model'); {_INSTEAD}")
