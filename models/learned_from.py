"""Which texts a judge was tuned or calibrated on, as digests: enough to know them again, not to read them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from lager_onnx.models.template import Template
from lager_onnx.models.values import is_missing

GRADED: Final = ("instruction", "response", "prompt")  # the fields that are graded, whatever the criterion
_DIGITS: Final = 16  # 8 bytes: the chance that two of a million texts share a digest is 1 in 37,000,000
MOST: Final = 1 << 18  # digests, 4 MB; of more texts, those with the lowest are kept


@dataclass(frozen=True)
class LearnedFrom:
    """The records that layer weights or a calibration were learned from.

    Attributes:
        records: how many there were.
        texts: digests of their graded texts, 16 hexadecimal digits each, sorted and joined.
    """

    records: int
    texts: str

    def __post_init__(self) -> None:
        if self.records < 1 or not re.fullmatch(f"(?:[0-9a-f]{{{_DIGITS}}})+", self.texts):
            raise ValueError(f"digests of {self.records} records that are not {_DIGITS} hexadecimal digits each")

    @classmethod
    def of(cls, digests: Iterable[str]) -> "LearnedFrom":
        """Return those of records, from the digest of each."""
        given = list(digests)
        return cls(len(given), "".join(sorted(set(given))[:MOST]))

    @property
    def digests(self) -> frozenset[str]:
        """The digest of every text."""
        return frozenset(self.texts[first : first + _DIGITS] for first in range(0, len(self.texts), _DIGITS))

    @property
    def complete(self) -> bool:
        """Whether every text has its digest here; of more than `MOST`, only those with the lowest are kept."""
        return len(self.texts) < _DIGITS * MOST


def digest(record: Mapping[str, Any], template: Template) -> str:
    """Return the digest of a record's graded text: instruction, response and prompt, without the white space around.

    Of a record that has none of these, it is that of the fields that the template reads; neither counts the criterion.
    """
    names = [name for name in GRADED if not is_missing(record.get(name))]
    names = names or sorted(template.fields - {"criterion", "rubric"})
    texts = [f"{name}\0{'' if is_missing(record.get(name)) else str(record[name]).strip()}" for name in names]
    return blake2b("\1".join(texts).encode("utf-8", "surrogatepass"), digest_size=_DIGITS // 2).hexdigest()
