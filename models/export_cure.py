"""How to get a judge that is not there: by export."""

import json
import shlex
from pathlib import Path

from lager_onnx.models.cure import Cure
from lager_onnx.models.values import visible


def export_cure(checkpoint: str, folder: Path | str) -> Cure:
    """Return the remedy for a judge that is not there: export it from a checkpoint into a folder."""
    names = [visible(checkpoint), visible(str(folder))]
    quoted = ", ".join(json.dumps(name, ensure_ascii=False) for name in names)
    return Cure(
        command=f"make one with lager export {shlex.join(names)}", python=f"make one with export_judge({quoted})"
    )
