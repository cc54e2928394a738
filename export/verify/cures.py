"""Remedies for a judge that fails a comparison."""

from typing import Final

from lager_onnx.models.cure import Cure

_COMMAND: Final = "write the judge all the same by --no-verify"
_PYTHON: Final = "write the judge all the same by verify_judge=False"

WIDER: Final = Cure(
    command=f"export it in a wider precision, or {_COMMAND}", python=f"export it in a wider precision, or {_PYTHON}"
)
UNKNOWN_ARCHITECTURE: Final = Cure(
    command=f"the exporter may not know this architecture; {_COMMAND}",
    python=f"the exporter may not know this architecture; {_PYTHON}",
)
