"""What a question is about: a text, or an instruction and its response."""

from typing import Final

from lager_onnx.models.cure import Cure
from lager_onnx.models.errors import RecordError
from lager_onnx.models.values import names, text_field
from lager_onnx.runtime.records.record import Record

_TURNS: Final = ("instruction", "response", "output")


def one_subject(record: Record) -> Record:
    """Return a record that the question template reads as one subject: `text`, or instruction and response.

    What the user names on purpose is read; with both named, both are.

    Raises:
        RecordError: the record has both, they differ, and neither is named.
    """
    turns = [name for name in _TURNS if record.has(name)]
    if not turns or not record.has("text") or record.layout == "prompt":
        return record
    turns_asked = record.asked & {*_TURNS, "messages"}
    if "text" in record.asked:
        return record if turns_asked else record.without(*turns)
    if turns_asked:
        return record.without("text")
    text = text_field(record, "text").strip()
    said = {name: text_field(record, name).strip() for name in turns}
    if set(said.values()) == {text}:
        return record.without(*turns)
    if said.get("response") == text:
        return record.without("text")
    shown = ["messages"] if record.layout == "messages" else turns
    raise RecordError(
        f"the record has 'text', and {names(shown)} beside it, which say different things: the question may be about "
        "either",
        Cure(
            command=f"add --field text=text or --field {shown[-1]}={shown[-1]}",
            python=f'give fields={{"text": "text"}} or fields={{"{shown[-1]}": "{shown[-1]}"}}',
            http="send one of them",
        ),
    )
