"""Fields that a user gave on purpose and that the judge does not read: said once a run, not passed over."""

from collections.abc import Collection, Iterator
from typing import Final

from lager_onnx.models.cure import Cure, Notice
from lager_onnx.models.question import Question
from lager_onnx.models.values import visible
from lager_onnx.runtime.records.finished import unread_beside
from lager_onnx.runtime.records.record import Record

_RUBRIC: Final = ("criterion", "rubric", "score_descriptions")
_MEANT: Final = (*_RUBRIC, "reference", "context")
_ELSEWHERE: Final = frozenset(("feedback", "levels", "choices", "human_score", "group", "id", "dataset"))
_OF_LAYOUT: Final = {"prompt": {"prompt"}, "messages": {"messages"}, "output": {"instruction", "output", "input"}}


def unread(record: Record, template: str, reads: Collection[str], question: Question) -> tuple[Notice, ...]:
    """Return what the user should know of a record's fields that nobody reads.

    Args:
        record: as it was judged.
        template: name of the template that was filled.
        reads: names of its fields.
        question: what the record asks.
    """
    return tuple(_unread(record, template, reads, question))


def _unread(record: Record, template: str, reads: Collection[str], question: Question) -> Iterator[Notice]:
    finished = record.layout == "prompt"
    why = "the record's prompt is finished" if finished else f"template {visible(template)!r} has no place for it"
    read = _read(record, frozenset() if finished else frozenset(reads))
    lost = [name for name in _MEANT if name in record and record.has(name) and name not in read]
    lost += [name for name in sorted(record.asked) if name not in read and name not in lost]
    for name in lost:
        yield Notice(f"field {visible(name)!r} is not read: {why}")
    if finished:
        yield from unread_beside(record)
    if "score_descriptions" in read and record.has("score_descriptions") and not record.has("rubric"):
        yield Notice("field 'score_descriptions' is not read: it describes the scores of a 'rubric' that is text")
    if question.texts and not question.choice and not {"answers", "rubric"} & read:
        yield Notice(f"the texts of field 'levels' are not read, only their number: {why}")
    if record.layout == "response" and "instruction" in reads and record.has("input") and "input" not in read:
        yield Notice(
            "field 'input' is not read: it is Alpaca's, beside 'output', and here there is a 'response'",
            Cure(
                command="add it to the instruction, or name the response --field output=response",
                python='add it to the instruction, or give fields={"output": "response"}',
                http="add it to the instruction, or send the response as 'output'",
            ),
        )
    for name in record:
        if name.strip().lower() == "feedback" and record.has(name) and name not in {*record.asked, *reads}:
            yield _feedback(name)


def _read(record: Record, reads: frozenset[str]) -> frozenset[str]:
    rubric = _RUBRIC if "rubric" in reads else ()
    return reads | _ELSEWHERE | _OF_LAYOUT.get(record.layout, set()) | set(rubric)


def _feedback(name: str) -> Notice:
    shown = visible(name)
    return Notice(
        f"field {shown!r} is not read: what people say of a response would tell the judge their grade",
        Cure(
            command=f"if the judge is to grade as if it had said that itself, add --field feedback={shown}",
            python=f'if the judge is to grade as if it had said that itself, give fields={{"feedback": {shown!r}}}',
            http=f"if the judge is to grade as if it had said that itself, send fields: {{'feedback': {shown!r}}}",
        ),
    )
