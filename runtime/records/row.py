"""One row of an input."""

from dataclasses import dataclass
from typing import Any

from lager_onnx.models.errors import RecordError


@dataclass(frozen=True)
class Row:
    """One row of the input.

    Attributes:
        where: file and line (or number in a JSON array), for messages.
        record: its fields; for a row that cannot be read, what could be saved of it (`line` and `input`).
        error: why it cannot be read.
    """

    where: str
    record: dict[str, Any]
    error: RecordError | None = None
