"""What is asked of a record: a score on the judge's scale, on other levels, or which of some choices is right."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lager_onnx.models.cure import Cure
from lager_onnx.models.errors import RecordError
from lager_onnx.models.scale import Scale
from lager_onnx.models.values import is_missing

ASKING: Final = ("levels", "choices")  # fields that ask for something else than a score on the judge's own scale


@dataclass(frozen=True)
class Question:
    """What a record asks.

    Attributes:
        scale: what the judge may answer: the first n labels of its own scale, and what they count.
        texts: what each label stands for, in their order; () where only their order counts.
        choice: the texts are choices, of which one is right, and no levels.
    """

    scale: Scale
    texts: tuple[str, ...] = ()
    choice: bool = False

    @property
    def lines(self) -> str:
        """Labels and what they stand for, as the judge reads them."""
        texts = self.texts or self._ends()
        return "\n".join(f"{label}: {text}" for label, text in zip(self.scale.labels, texts, strict=False) if text)

    def _ends(self) -> tuple[str, ...]:
        return ("the lowest", *[""] * (len(self.scale.labels) - 2), "the highest")


def read_question(record: Mapping[str, Any], scale: Scale) -> Question:
    """What a record asks by its field `levels` (a number, or a text for each level) or `choices` (texts).

    Without either, it asks for a score on the judge's own scale.

    Args:
        record: it.
        scale: the judge's own.

    Raises:
        RecordError: both fields, fewer than two or more than the judge has labels, or something else than texts.
    """
    asked = {name: record[name] for name in ASKING if not is_missing(record.get(name))}
    if not asked:
        return Question(scale)
    if len(asked) > 1:
        raise RecordError("a record has both 'levels' and 'choices': ask one question a record")
    ((name, given),) = asked.items()
    if name == "levels" and _is_count(given):
        return Question(_first(scale, int(given), name))  # a column with gaps holds 5.0
    if not isinstance(given, list | tuple) or not all(isinstance(text, str) and text.strip() for text in given):
        how = "texts, one a level, or a number of levels" if name == "levels" else "texts to choose from"
        raise RecordError(f"field '{name}' must be a list of {how}")
    texts = tuple(text.strip() for text in given)
    if len(set(texts)) < len(texts):
        raise RecordError(f"field '{name}' holds a text twice")
    return Question(_first(scale, len(texts), name), texts, name == "choices")


def _is_count(given: Any) -> bool:
    return (isinstance(given, int) and not isinstance(given, bool)) or (isinstance(given, float) and given.is_integer())


def _first(scale: Scale, count: int, name: str) -> Scale:
    if not 2 <= count <= len(scale.labels):
        ten = Cure(
            command="--scale decisions exports one that has ten",
            python='export_judge(scale="decisions") makes one that has ten',
        )
        raise RecordError(
            f"field '{name}' asks for {count}, this judge answers one of 2 to {len(scale.labels)}",
            ten if 2 <= count <= 10 else None,
        )
    if not all(label.isdigit() for label in scale.labels):
        raise RecordError(f"field '{name}' needs a judge that answers with numbers, not one of {scale}")
    return Scale(scale.labels[:count], scale.values[:count])
