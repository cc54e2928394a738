"""Whether a record's `prompt` is the whole user's turn, and what is beside it."""

import re
from collections.abc import Iterator
from typing import Final

from lager_onnx.models.columns import is_about
from lager_onnx.models.cure import Cure, Notice
from lager_onnx.models.errors import RecordError
from lager_onnx.models.values import is_missing, names
from lager_onnx.runtime.records.record import Record

_ASKED: Final = (
    r"instruction|question|query|queries|messages?|conversation|dialog|dialogue|chat|turn|input|user_input|text|content"
)
_ANSWERED: Final = (
    r"response|completion|answer|output|reply|replies|generation|generated|prediction|predicted|assistant|candidate"
    r"|hypothesis|hypotheses|solution|summary|summaries|translation|target|result|chosen|rejected"
)
_NUMBERED: Final = r"(s|_text)?([_-]?\d+|[_-][a-z])?"
# Beside a finished prompt, these say what was asked or answered, so the prompt may be no whole one.
_ASKED_OR_ANSWERED: Final = re.compile(
    rf"({_ASKED}){_NUMBERED}|(?!reference|gold|correct|expected|ideal).*({_ANSWERED}){_NUMBERED}", re.IGNORECASE
)
# A template names these, too, and they neither ask nor answer.
_ASIDE: Final = frozenset(
    (
        "context", "reference", "rubric", "criterion", "score_descriptions", "feedback",
        "scale", "lowest", "highest", "answers", "answer",
    )
)  # fmt: skip
_CURE: Final = Cure(
    command="add --field instruction=prompt where it is what was asked (and --field response=NAME), or "
    "--field prompt=prompt where it is finished",
    python='give fields={"instruction": "prompt", "response": NAME} where it is what was asked, or '
    '{"prompt": "prompt"} where it is finished',
    http="send it as 'instruction', and the answer as 'response'; or the finished prompt without them",
)


def is_finished(record: Record, reads: frozenset[str]) -> bool:
    """Return whether `prompt` is the whole user's turn.

    Args:
        record: under the judge's names.
        reads: names of the fields in the judge's template.

    Raises:
        RecordError: nobody can tell.
    """
    roles = sorted(record.asked & {"instruction", "response", "messages", "output"})
    if "prompt" in reads or (roles and "prompt" not in record.asked):
        return False
    if "prompt" in record.asked:
        if roles:
            raise RecordError(f"the finished prompt is named, and {names(roles)} beside it: name one or the other")
        return True
    if not record.has("prompt"):
        return False
    also = reads - _ASIDE
    beside = [name for name in record if name in also or _ASKED_OR_ANSWERED.fullmatch(name.strip())]
    if rivals := [name for name in beside if record.has(name) and record[name] not in ([], {})]:
        raise RecordError(
            f"the record has 'prompt', and {names(rivals)} beside it, so the prompt may be the whole text to read, or "
            "only what was asked",
            _CURE,
        )
    return True


def unread_beside(record: Record) -> Iterator[Notice]:
    """Give a notice of text columns beside a prompt that is read as finished, unless the user has named it so."""
    if "prompt" in record.asked:
        return
    lost = [
        name
        for name, value in record.items()
        if isinstance(value, str) and not is_missing(value) and name not in record.asked and not is_about(name)
    ]
    if lost:
        columns = "column" if len(lost) == 1 else "columns"
        are = "is" if len(lost) == 1 else "are"
        yield Notice(f"the prompt is read as finished; {columns} {names(lost)} {are} not read", _CURE)
