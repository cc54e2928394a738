"""Reads the JSON files of a checkpoint."""

import json
from pathlib import Path
from typing import Any

from lager_onnx.models.errors import CheckpointError


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        CheckpointError: it cannot be read, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): mend it, or take it away") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no object: mend it, or take it away")
    return content
